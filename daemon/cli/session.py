"""One run of `fst`: what was asked for everywhere, and the three ways to speak (data, talk, documents)."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from daemon.cli.render.text import Ink, json_text
from daemon.client import Client, find_socket
from daemon.client.exchange import TYPE_CHECKING
from daemon.config import Settings, load_settings

if TYPE_CHECKING:
    from daemon.client.exchange import Document

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Session:
    """The options that every verb knows, and the environment; made once, handed to the verb."""

    env: Mapping[str, str]
    folder: Path
    as_json: bool = False
    quiet: bool = False
    verbose: bool = False
    yes: bool = False
    colour: bool = False
    """On stdout."""

    @property
    def ink(self) -> Ink:
        """Colour for what goes to stdout."""
        return Ink(self.colour)

    @property
    def client(self) -> Client:
        """The daemon. Raises DaemonUnreachable when none ever ran here."""
        return Client(find_socket(self.env))

    def settings(self, flags: Mapping[str, str] | None = None) -> Settings:
        """The settings of this machine. Raises InvalidValue."""
        return load_settings(flags or {}, self.env)

    def place(self, given: str | None = None) -> str:
        """A folder as the daemon knows it: absolute, links followed; without one the folder we are in (`-C`)."""
        return str((self.folder / given if given else self.folder).resolve())

    def file(self, given: str) -> str:
        """An entry in a workspace: absolute, links followed down to its folder, but not the entry itself."""
        named = self.folder / given
        return str(named.parent.resolve() / named.name) if named.name not in ("", "..") else str(named.resolve())

    def now_ms(self) -> int:
        """For ages on the screen."""
        return time.time_ns() // 1_000_000

    def show(self, answer: Document, lines: Iterable[str]) -> None:
        """The verb's result on stdout: one document, or the lines."""
        if self.as_json:
            print(json_text({"schema": SCHEMA, **answer}), flush=True)
            return
        for line in lines:
            print(line)

    def say(self, text: str) -> None:
        """Talk, on stderr."""
        if not self.quiet:
            print(text, file=sys.stderr, flush=True)
