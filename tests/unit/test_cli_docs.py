"""docs/CLI.md says what there is: every verb, every setting with its default, every exit code."""

from __future__ import annotations

from pathlib import Path

from daemon.cli.tree import Verbs, fst, join_verbs
from daemon.config import KEYS
from store.errors import FastestError

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "CLI.md").read_text("utf-8")


def test_every_verb_is_there() -> None:
    join_verbs()
    for name, command in fst.commands.items():
        words = [f"{name} {inner}" for inner in command.commands] if isinstance(command, Verbs) else [name]
        for word in words if name != "config" else [name]:
            assert f"fst {word}" in TEXT, word


def test_every_option_is_there() -> None:
    for name, command in fst.commands.items():
        for option in command.params:
            long = [text for text in (*option.opts, *option.secondary_opts) if text.startswith("--") and option.expose_value]
            hidden = long in (["--kept-in"], ["--message"], ["--limit"])
            assert hidden or all(text in TEXT for text in long), (name, long)


def test_every_setting_is_there_with_its_default() -> None:
    for key, known in KEYS.items():
        default = str(known.default).lower() if isinstance(known.default, bool) else str(known.default)
        assert f"| `{key}` | {default}".rstrip() in TEXT, key


def test_every_exit_code_is_there() -> None:
    families = [FastestError]
    for family in families:
        families += family.__subclasses__()
        assert f"\n| {family.exit_code} | " in TEXT, family
