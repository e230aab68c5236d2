"""Settings: who wins, what is refused and where; and the places of one machine."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.client import find_socket
from daemon.config import (
    KEYS,
    MAX_SOCKET_BYTES,
    Places,
    Settings,
    check_private,
    field_of,
    find_places,
    line_of,
    load_settings,
    make_places,
    record_socket,
    set_line,
    short_socket,
    variable_of,
    write_setting,
)
from store.errors import InvalidValue, Unwritable


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return {"FASTEST_HOME": str(tmp_path)}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "config").mkdir()
    return tmp_path / "config" / "config.toml"


def test_every_key_is_a_field_and_every_field_a_key(env: dict[str, str]) -> None:
    settings = load_settings({}, env)
    fields = set(Settings.__dataclass_fields__) - {"places"}
    assert {field_of(key) for key in KEYS} == fields
    assert all(getattr(settings, field_of(key)) == known.default for key, known in KEYS.items())


def test_flag_beats_environment_beats_file_beats_default(env: dict[str, str], file: Path) -> None:
    assert load_settings({}, env).brake_files == 50
    file.write_text("[brake]\nfiles = 60\n")
    assert load_settings({}, env).brake_files == 60
    env["FASTEST_BRAKE_FILES"] = "70"
    assert load_settings({}, env).brake_files == 70
    assert load_settings({"brake.files": "80"}, env).brake_files == 80


def test_an_unknown_key_is_refused_with_its_line_and_the_near_one(env: dict[str, str], file: Path) -> None:
    file.write_text("# mine\n[secrets]\nhold = true\nhodl = false\n")
    with pytest.raises(InvalidValue, match=r"config\.toml:4: unknown setting 'secrets.hodl'") as caught:
        load_settings({}, env)
    assert "secrets.hold" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[secrets]\nhold = 1\n", ":2: secrets.hold takes true or false"),
        ("secrets.hold = 'no'\n", ":1: secrets.hold takes true or false"),
        ("[brake]\nshare = 2\n", ":2: brake.share takes a number from 0 to 1"),
        ("[brake]\nfiles = true\n", ":2: brake.files takes a whole number"),
        ("[brake]\nfiles = 1.5\n", ":2: brake.files takes a whole number"),
        ("[conflict]\nstyle = 'loud'\n", ":2: conflict.style takes one of record"),
        ("secrets = 1\n", ":1: unknown setting 'secrets'"),
        ("[settle]\nquiet_ms = 900\n", "settle.max_ms is less than settle.quiet_ms"),
        ("[brake\n", "not TOML"),
        ("\udcff", "not TOML"),
    ],
)
def test_a_bad_file_is_refused(env: dict[str, str], file: Path, text: str, said: str) -> None:
    file.write_bytes(os.fsencode(text))
    with pytest.raises(InvalidValue) as caught:
        load_settings({}, env)
    assert said in caught.value.message
    assert str(file) in caught.value.message or "settle" in said


def test_a_bad_variable_and_a_bad_flag_are_named(env: dict[str, str]) -> None:
    with pytest.raises(InvalidValue, match=r"FASTEST_SECRETS_HOLD: secrets\.hold takes true or false, not 'maybe'"):
        load_settings({}, {**env, "FASTEST_SECRETS_HOLD": "maybe"})
    with pytest.raises(InvalidValue, match=r"flag: unknown setting 'secrets\.hole'"):
        load_settings({"secrets.hole": "1"}, env)


@pytest.mark.parametrize("word", ["false", "0", "no", "OFF"])
def test_words_for_false(env: dict[str, str], word: str) -> None:
    assert load_settings({}, {**env, variable_of("secrets.hold"): word}).secrets_hold is False


def test_a_set_line_leaves_all_others_alone() -> None:
    before = '# mine\nsettle.quiet_ms = 3 # three\n\n[cloud]\nurl = "a # b"   # where\n'
    after = set_line(set_line(set_line(before, "settle.quiet_ms", 7), "settle.max_ms", 70), "cloud.url", "x")
    assert after == '# mine\nsettle.quiet_ms = 7 # three\nsettle.max_ms = 70\n\n[cloud]\nurl = "x"   # where\n'


def test_only_a_newline_ends_a_line() -> None:
    assert set_line('machine.name = "a\u2028b"\n', "cloud.url", "") == 'machine.name = "a\u2028b"\n\n[cloud]\nurl = ""\n'


@given(st.text(st.characters(exclude_categories=["Cs"])), st.integers(1, 60_000), st.booleans())
def test_what_is_set_is_what_is_read(url: str, number: int, flag: bool) -> None:
    text = set_line(set_line(set_line("", "cloud.url", url), "settle.quiet_ms", number), "cloud.insecure", flag)
    assert tomllib.loads(text) == {"cloud": {"url": url, "insecure": flag}, "settle": {"quiet_ms": number}}
    assert line_of(text, "settle.quiet_ms") == text.splitlines().index(f"quiet_ms = {number}") + 1


def test_a_written_setting_is_there(env: dict[str, str], file: Path) -> None:
    assert write_setting(file, "brake.share", "0.5", dry_run=True) == 0.5
    assert not file.exists()
    assert write_setting(file, "brake.share", "0.5") == 0.5
    assert load_settings({}, env).brake_share == 0.5
    with pytest.raises(InvalidValue, match="takes a number from 0 to 1"):
        write_setting(file, "brake.share", "5")
    assert load_settings({}, env).brake_share == 0.5
    assert [path.name for path in file.parent.iterdir()] == ["config.toml"], "no temporary file is left"


def test_a_file_that_a_line_cannot_change_is_left_alone(file: Path) -> None:
    file.write_text("settle = { quiet_ms = 5 }\n")
    with pytest.raises(InvalidValue, match="cannot change"):
        write_setting(file, "settle.max_ms", "60")
    assert file.read_text() == "settle = { quiet_ms = 5 }\n"


# --- places ---


def test_one_home_holds_everything(tmp_path: Path) -> None:
    places = find_places({"FASTEST_HOME": str(tmp_path)})
    for place in (places.config_file, places.data, places.state, places.logs, places.socket, places.account_file):
        assert place.is_relative_to(tmp_path)
    assert not list(tmp_path.iterdir()), "finding makes nothing"


def test_without_a_home_the_system_decides(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("CONFIG", "DATA", "STATE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.delenv("FASTEST_HOME")
    places = find_places(os.environ)
    assert places.config_file == tmp_path / "CONFIG/fastest/config.toml"
    assert places.socket.is_relative_to(tmp_path / "run")
    assert not places.is_own_home


def test_a_long_home_gets_a_short_socket_of_its_own(tmp_path: Path) -> None:
    one, other = (short_socket(Path("/", letter * 120, "run/daemon.sock")) for letter in "ab")
    assert one != other
    assert len(os.fsencode(one)) <= MAX_SOCKET_BYTES
    assert short_socket(tmp_path / "s") == tmp_path / "s"


def test_the_recorded_socket_is_found(env: dict[str, str]) -> None:
    places = find_places(env)
    make_places(places)
    record_socket(places)
    assert find_socket(env) == str(places.socket)
    assert places.runtime.stat().st_mode & 0o077 == 0


def test_the_folder_of_the_socket_has_to_be_ours_alone(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    check_private(folder)
    assert folder.stat().st_mode & 0o077 == 0
    os.chown(folder, 12345, 12345)
    with pytest.raises(Unwritable, match="belongs to somebody else"):
        check_private(folder)
    link = tmp_path / "link"
    link.symlink_to(tmp_path)
    with pytest.raises(Unwritable):
        check_private(link)


def test_places_that_cannot_be_made_are_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    places: Places = find_places({"FASTEST_HOME": str(tmp_path / "file")})
    with pytest.raises(Unwritable, match="cannot be made"):
        make_places(places)
