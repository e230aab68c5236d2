"""Where the token goes, and to which cloud it may be sent."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from daemon.config import find_places
from daemon.login import Account, Accounts, Keyring, SystemKeyring, check_cloud_url, is_loopback, parse_token, system_keyring
from store.errors import Busy, InvalidValue, NotSignedIn, StoreDamaged

URL = "https://cloud.example.org"


class FakeKeyring:
    """In memory; `locked` as a keyring that nobody has opened."""

    def __init__(self, *, locked: bool = False) -> None:
        self.kept: dict[str, str] = {}
        self.locked = locked

    def get(self, name: str) -> str | None:
        self._look()
        return self.kept.get(name)

    def put(self, name: str, secret: str) -> None:
        self._look()
        self.kept[name] = secret

    def remove(self, name: str) -> None:
        self._look()
        self.kept.pop(name, None)

    def _look(self) -> None:
        if self.locked:
            raise Busy("the keyring does not answer")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "state" / "account.json"


def accounts_at(file: Path, keyring: Keyring | None) -> Accounts:
    return Accounts(file, key_of(file), keyring)


def key_of(file: Path) -> Path:
    return file.parent.parent / "data" / "account.key"


def test_signed_out_at_first(file: Path) -> None:
    accounts = accounts_at(file, None)
    assert accounts.read() is None and accounts.address() is None and accounts.forget() is None


def test_without_a_keyring_the_token_is_in_a_private_file(file: Path) -> None:
    assert accounts_at(file, None).keep(URL, "ann@example.org", "secret").kept_in == "file"
    assert accounts_at(file, None).read() == Account(URL, "ann@example.org", "secret", "file")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(file.parent.iterdir()) == [file]


def test_the_file_is_sealed_with_a_key_that_lies_elsewhere(file: Path) -> None:
    accounts_at(file, None).keep(URL, "ann@example.org", "secret-token")
    key = key_of(file)
    assert b"secret-token" not in file.read_bytes() + key.read_bytes()
    assert stat.S_IMODE(key.stat().st_mode) == 0o600 and key.parent != file.parent
    first = file.read_bytes()
    accounts_at(file, None).keep(URL, "ann@example.org", "secret-token")
    assert file.read_bytes() != first, "sealed anew each time"
    elsewhere = file.read_text().replace(URL, "https://evil.example.org")
    file.write_text(elsewhere)
    with pytest.raises(NotSignedIn):
        accounts_at(file, None).read()


@pytest.mark.parametrize("harm", ["gone", "short", "another", "changed"])
def test_a_sealed_token_that_does_not_open_means_sign_in_again(file: Path, harm: str) -> None:
    accounts_at(file, None).keep(URL, "", "secret")
    key = key_of(file)
    if harm == "changed":
        told = json.loads(file.read_text())
        file.write_text(json.dumps(told | {"sealed": "A" + told["sealed"][1:] if told["sealed"][0] != "A" else "B" + told["sealed"][1:]}))
    elif harm == "gone":
        key.unlink()
    else:
        key.write_bytes(b"x" * (32 if harm == "another" else 5))
    with pytest.raises(NotSignedIn, match="no longer gives the token"):
        accounts_at(file, None).read()
    accounts_at(file, None).keep(URL, "", "new")
    assert accounts_at(file, None).read() == Account(URL, "", "new", "file")


def test_a_token_that_an_older_version_left_in_the_clear_is_read_and_sealed(file: Path) -> None:
    file.parent.mkdir()
    file.write_text(json.dumps({"url": URL, "email": "a@b.c", "kept_in": "file", "token": "secret"}))
    for _ in range(2):
        assert accounts_at(file, None).read() == Account(URL, "a@b.c", "secret", "file")
        assert "secret" not in file.read_text()


def test_with_a_keyring_the_file_has_no_token(file: Path) -> None:
    keyring = FakeKeyring()
    assert accounts_at(file, keyring).keep(URL, "ann@example.org", "secret").kept_in == "keyring"
    assert "secret" not in file.read_text()
    assert accounts_at(file, keyring).read() == Account(URL, "ann@example.org", "secret", "keyring")


def test_a_locked_keyring_means_a_file_when_keeping(file: Path) -> None:
    assert accounts_at(file, FakeKeyring(locked=True)).keep(URL, "", "secret").kept_in == "file"
    assert accounts_at(file, FakeKeyring(locked=True)).read() == Account(URL, "", "secret", "file")


def test_a_locked_keyring_pauses_the_cloud_when_reading(file: Path) -> None:
    keyring = FakeKeyring()
    accounts_at(file, keyring).keep(URL, "", "secret")
    keyring.locked = True
    with pytest.raises(Busy):
        accounts_at(file, keyring).read()
    assert accounts_at(file, keyring).address() == URL, "which cloud it is can be told all the same"


def test_a_keyring_that_forgot_means_sign_in_again(file: Path) -> None:
    keyring = FakeKeyring()
    accounts_at(file, keyring).keep(URL, "", "secret")
    keyring.kept.clear()
    with pytest.raises(NotSignedIn):
        accounts_at(file, keyring).read()


def test_forgetting_leaves_nothing(file: Path) -> None:
    keyring = FakeKeyring()
    accounts = accounts_at(file, keyring)
    accounts.keep(URL, "", "secret")
    assert accounts.forget() == URL
    assert not file.exists() and not keyring.kept
    accounts_at(file, None).keep(URL, "", "secret")
    accounts_at(file, None).forget()
    assert not file.exists() and not key_of(file).exists()


def test_another_cloud_replaces_the_first(file: Path) -> None:
    keyring = FakeKeyring()
    accounts = accounts_at(file, keyring)
    accounts.keep(URL, "", "one")
    accounts.keep("https://other.example.org", "", "two")
    assert keyring.kept == {"https://other.example.org": "two"}


def test_a_damaged_file_is_told(file: Path) -> None:
    file.parent.mkdir()
    file.write_text("{")
    with pytest.raises(StoreDamaged, match="cannot be understood"):
        accounts_at(file, None).read()


def test_a_token_is_never_shown() -> None:
    assert "secret" not in repr(Account(URL, "", "secret"))


def test_the_system_keyring_without_a_backend_is_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.fail.Keyring")
    with pytest.raises(Busy, match=r"refused|does not answer"):
        SystemKeyring().put("https://test.invalid", "secret")


def test_a_home_of_its_own_uses_no_keyring(tmp_path: Path) -> None:
    assert system_keyring(find_places({"FASTEST_HOME": str(tmp_path)})) is None


@pytest.mark.parametrize(
    "url",
    ["https://cloud.example.org", "https://cloud.example.org:8443/base", "http://127.0.0.1:8787", "http://localhost:1", "http://[::1]:8"],
)
def test_addresses_that_are_fine(url: str) -> None:
    assert check_cloud_url(url + "/", insecure=False) == url


@pytest.mark.parametrize("url", ["http://cloud.example.org", "http://10.0.0.1", "http://localhost.evil.org", "http://0.0.0.0"])
def test_plain_http_leaves_this_machine_only_when_allowed(url: str) -> None:
    with pytest.raises(InvalidValue, match="plain http"):
        check_cloud_url(url, insecure=False)
    assert check_cloud_url(url, insecure=True) == url


@pytest.mark.parametrize(
    "url",
    ["", "cloud.example.org", "ftp://x", "https://", "https://u:p@x", "https://x?a=b", "https://x#a", "http://[bad", "https://x:99999999"],
)
def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(InvalidValue, match="not a cloud's address"):
        check_cloud_url(url, insecure=True)


def test_loopback_is_never_looked_up() -> None:
    assert is_loopback("127.9.9.9") and is_loopback("LOCALHOST") and not is_loopback("localhost.localdomain")


def test_a_token_is_one_word() -> None:
    assert parse_token("abc\n") == "abc"
    for bad in ("", " ", "a b", "a\nb", "é", "x" * 5000):
        with pytest.raises(InvalidValue, match="not a token"):
            parse_token(bad)
