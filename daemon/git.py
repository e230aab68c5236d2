"""What git says of a folder: its ignore files that do not travel, where HEAD stands, and whether it is at work."""

from __future__ import annotations

import configparser
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

MAX_FILE_BYTES: Final = 1024 * 1024
AT_WORK: Final = ("index.lock", "rebase-merge", "rebase-apply", "MERGE_HEAD", "CHERRY_PICK_HEAD")


class GitFolder:
    """The `.git` of a workspace's root, if there is one; a linked worktree's is followed."""

    def __init__(self, root: bytes, env: Mapping[str, str]) -> None:
        self._env = env
        self._dot = Path(os.fsdecode(root)) / ".git"

    def head(self) -> str:
        """Where HEAD points, and at what: it changes when git switches branches. Empty without git."""
        folder = self._folder()
        if folder is None:
            return ""
        text = _read(folder / "HEAD").decode("utf-8", "replace").strip()
        name = text.removeprefix("ref: ")
        return text if name == text else f"{text} {_read(self._shared(folder) / name).decode('ascii', 'replace').strip()}"

    def is_at_work(self) -> bool:
        """Git holds its index, or is in the middle of a rebase or a merge: its files are not to be touched now."""
        folder = self._folder()
        return folder is not None and any((folder / name).exists() for name in AT_WORK)

    def excludes(self) -> tuple[bytes, bytes]:
        """The bytes of git's global excludes and of `.git/info/exclude`."""
        folder = self._folder()
        return global_excludes(self._env), b"" if folder is None else _read(self._shared(folder) / "info" / "exclude")

    def _folder(self) -> Path | None:
        try:
            if stat.S_ISDIR(self._dot.stat().st_mode):
                return self._dot
            text = _read(self._dot).decode("utf-8", "surrogateescape")
        except OSError:
            return None
        if not text.startswith("gitdir: "):
            return None
        return self._dot.parent / text.removeprefix("gitdir: ").strip()

    def _shared(self, folder: Path) -> Path:
        """Where a linked worktree keeps what it shares with its fellows."""
        common = _read(folder / "commondir").decode("utf-8", "surrogateescape").strip()
        return folder / common if common else folder


def global_excludes(env: Mapping[str, str]) -> bytes:
    """The bytes of git's `core.excludesFile`, or of its default place. Git itself need not be installed."""
    home = Path(env.get("HOME") or "~").expanduser()
    config_home = Path(env.get("XDG_CONFIG_HOME") or home / ".config")
    chosen = config_home / "git" / "ignore"
    for file in (config_home / "git" / "config", home / ".gitconfig"):
        parser = configparser.ConfigParser(strict=False, interpolation=None, allow_no_value=True)
        try:
            parser.read_string("\n".join(line.strip() for line in _read(file).decode("utf-8", "replace").splitlines()))
        except configparser.Error:
            continue
        named = parser.get("core", "excludesfile", fallback="") or ""
        if named:
            chosen = Path(named.strip('"').replace("~", str(home), 1) if named.startswith("~") else named.strip('"'))
    return _read(chosen)


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            return stream.read(MAX_FILE_BYTES)
    except OSError:
        return b""
