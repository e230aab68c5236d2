"""Secrets at rest: what is sealed opens only where it belongs, and only under the keys of this cloud (KEY-2)."""

from __future__ import annotations

import base64
import secrets
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.accounts.vault import MAX_SECRET_BYTES, Vault, find_vault, note_key
from cloud.config import Settings, parse_arguments
from cloud.parts import opened
from store.errors import InvalidValue, Refused, SecretDamaged, Unwritable
from tests.clouds import in_loop, serving

PLACE = ("01HXADA", "anthropic", "user_api_keys.key_value")


def key() -> str:
    return base64.b64encode(secrets.token_bytes(32)).decode()


VAULT = Vault.parse(key())


def test_a_sealed_secret_says_how_and_nothing_of_itself() -> None:
    sealed = VAULT.seal("sk-secret", *PLACE)
    head, version, key_id, body = sealed.split(":")
    assert (head, version, key_id) == ("enc", "v1", VAULT.sealing_key)
    assert len(base64.b64decode(body)) == 12 + len("sk-secret") + 16
    assert "secret" not in sealed and VAULT.open(sealed, *PLACE) == "sk-secret"


def test_the_same_secret_is_sealed_differently_each_time() -> None:
    assert len({VAULT.seal("same", *PLACE) for _ in range(100)}) == 100


@given(st.text(max_size=200), st.lists(st.text(max_size=20), max_size=4))
def test_what_was_sealed_opens(secret: str, place: list[str]) -> None:
    assert VAULT.open(VAULT.seal(secret, *place), *place) == secret


@pytest.mark.parametrize(
    "place",
    [("01HXBOB", *PLACE[1:]), (PLACE[0], "openai", PLACE[2]), (*PLACE[:2], "project_env_vars.value"), PLACE[:2], (*PLACE, ""),
     (PLACE[0] + PLACE[1], "", PLACE[2]), ()],
)  # fmt: skip
def test_what_was_moved_elsewhere_does_not_open(place: tuple[str, ...]) -> None:
    with pytest.raises(SecretDamaged):
        VAULT.open(VAULT.seal("sk-secret", *PLACE), *place)


def test_no_changed_bit_goes_unseen() -> None:
    sealed = VAULT.seal("sk-secret", *PLACE)
    head, _, body = sealed.rpartition(":")
    raw = base64.b64decode(body)
    for at in range(len(raw) * 8):
        changed = bytearray(raw)
        changed[at // 8] ^= 1 << at % 8
        with pytest.raises(SecretDamaged):
            VAULT.open(f"{head}:{base64.b64encode(changed).decode()}", *PLACE)


@pytest.mark.parametrize(
    "sealed", ["", "sk-secret", "enc:v1:", "enc:v1::", "enc:v2:{id}:AAAA", "enc:v1:{id}:", "enc:v1:{id}:é", "enc:v1:{id}:AAAA"]
)
def test_what_is_not_sealed_is_told_as_damage(sealed: str) -> None:
    with pytest.raises(SecretDamaged):
        VAULT.open(sealed.replace("{id}", VAULT.sealing_key), *PLACE)


def test_a_new_key_seals_and_the_old_one_still_opens() -> None:
    old, new = key(), key()
    sealed = Vault.parse(old).seal("sk-secret", *PLACE)
    both = Vault.parse(f"{new}\n{old}\n")
    assert both.open(sealed, *PLACE) == "sk-secret" and not both.is_current(sealed)
    anew = both.seal("sk-secret", *PLACE)
    assert both.is_current(anew) and Vault.parse(new).open(anew, *PLACE) == "sk-secret"
    for vault, text in (
        (Vault.parse(old), anew),
        (Vault.parse(new), sealed),
        (both, anew.replace(both.sealing_key, Vault.parse(old).sealing_key)),
    ):
        with pytest.raises(SecretDamaged):
            vault.open(text, *PLACE)


@pytest.mark.parametrize("text", ["", " ", "short", "eHh4eA==", "é" * 44, base64.b64encode(b"x" * 32).decode() + " x"])
def test_keys_that_are_none_are_refused_and_not_shown(text: str) -> None:
    with pytest.raises(InvalidValue) as told:
        Vault.parse(text)
    assert not text.strip() or text.strip() not in told.value.message


def test_a_secret_has_a_bound_and_is_text() -> None:
    assert VAULT.open(VAULT.seal("x" * MAX_SECRET_BYTES, *PLACE), *PLACE)
    for bad in ("x" * (MAX_SECRET_BYTES + 1), "\udcff"):
        with pytest.raises(InvalidValue):
            VAULT.seal(bad, *PLACE)


def test_the_folders_key_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    sealed = find_vault(tmp_path, "").seal("sk-secret", *PLACE)
    assert find_vault(tmp_path, "").open(sealed, *PLACE) == "sk-secret"
    assert [path.name for path in tmp_path.iterdir()] == ["key"]
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600


def test_many_that_begin_at_once_have_one_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda _: find_vault(tmp_path, "").sealing_key, range(64)))
    assert len(set(found)) == 1 and [path.name for path in tmp_path.iterdir()] == ["key"]


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    find_vault(tmp_path, "")
    (tmp_path / "key").chmod(0o640)
    with pytest.raises(Unwritable, match="others may read"):
        find_vault(tmp_path, "")


def test_the_environments_keys_come_first_and_are_never_shown(tmp_path: Path) -> None:
    given = key()
    settings = parse_arguments(["serve", "--data", str(tmp_path)], {"FASTEST_CLOUD_KEY": given})
    assert find_vault(tmp_path, settings.key).sealing_key == Vault.parse(given).sealing_key
    assert not list(tmp_path.iterdir()) and given not in repr(settings)


@in_loop
async def test_a_database_that_was_sealed_with_another_key_is_not_served(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        here = served.cloud.vault
        await served.cloud.write(lambda tx: note_key(tx, here))
        with pytest.raises(Refused, match="which is not here"):
            await served.cloud.write(lambda tx: note_key(tx, VAULT))
        row = await served.cloud.read().one("SELECT value FROM meta WHERE key = 'sealing_key'")
        assert row == (here.sealing_key,)


@in_loop
async def test_a_new_key_takes_over_beside_the_old_one(tmp_path: Path) -> None:
    old, new = key(), key()
    for keys in (old, f"{new} {old}", new):
        async with opened(Settings("serve", tmp_path, key=keys)) as parts:
            assert parts.vault.sealing_key == Vault.parse(keys).sealing_key
    with pytest.raises(Refused, match="which is not here"):
        async with opened(Settings("serve", tmp_path, key=old)):
            pass
