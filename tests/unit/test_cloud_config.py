"""What `fst cloud` is told: options, variables, and secrets in files."""

from __future__ import annotations

from pathlib import Path

import pytest

from cloud.config import SECRETS, parse_arguments


def refused(capsys: pytest.CaptureFixture[str], *words: str, **env: str) -> str:
    with pytest.raises(SystemExit) as left:
        parse_arguments(["serve", *words], env)
    assert left.value.code == 2
    return capsys.readouterr().err


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_may_stand_in_a_file(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret").write_text("hush\n")
    settings = parse_arguments(["serve"], {f"{name}_FILE": str(tmp_path / "secret")})
    assert settings == parse_arguments(["serve"], {name: "hush"}) != parse_arguments(["serve"], {})
    assert "hush" not in repr(settings)


def test_a_file_that_holds_no_secret(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "bytes").write_bytes(b"\xff")
    for name, why in (
        ("none", "cannot be read: FileNotFoundError"),
        ("empty", "is empty"),
        ("bytes", "cannot be read: UnicodeDecodeError"),
    ):
        assert f"FASTEST_CLOUD_KEY_FILE {why}" in refused(capsys, FASTEST_CLOUD_KEY_FILE=str(tmp_path / name))
    both = refused(capsys, FASTEST_CLOUD_KEY="hush", FASTEST_CLOUD_KEY_FILE=str(tmp_path / "empty"))
    assert "both set" in both and "hush" not in both


@pytest.mark.parametrize(("words", "told"), [(("--notice", "-1"), "--notice"), (("--notice", "301"), "300"), (("--notice", "x"), "'x'")])
def test_a_notice_that_is_none(capsys: pytest.CaptureFixture[str], words: tuple[str, ...], told: str) -> None:
    assert told in refused(capsys, *words)


def test_levels(capsys: pytest.CaptureFixture[str]) -> None:
    assert parse_arguments(["serve"], {"FASTEST_CLOUD_LOG_LEVEL": "debug"}).log_level == "debug"
    assert parse_arguments(["serve", "--notice", "15"], {}).notice_seconds == 15
    assert "is one of debug, info" in refused(capsys, FASTEST_CLOUD_LOG_LEVEL="loud")
