"""Disks that are not this one: a folder that folds names and refuses some, over an ordinary folder.

What two names are is told by a key that each test's disk writes out for itself, not by what the code under test thinks.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable
from typing import ClassVar

from store.atomic import Folder, TempName
from store.errors import FileMoved, InvalidValue


class Odd(Folder):
    """Keeps names apart by `key`; names with one of `bad` in them are no names."""

    bad: ClassVar[bytes] = b""

    @classmethod
    def key(cls, name: bytes) -> bytes:
        return name

    def spelt(self, name: bytes) -> bytes:
        """The name as it stands in the folder, if it is there in some spelling."""
        there = [os.fsencode(one) for one in super().names()]
        return next((one for one in there if self.key(one) == self.key(name)), name) if name not in there else name

    def take(self, name: bytes) -> None:
        """A name that is to be new. Raises as the system does."""
        if any(letter in self.bad for letter in name):
            raise InvalidValue("this disk cannot hold the name")
        if super().stat(self.spelt(name)) is not None:
            raise FileMoved("taken")

    def open(self, rel: bytes) -> Folder:
        here = self
        for name in rel.split(b"/") if b"/" in rel else ():
            here, outer = here.open(name), here  # type: ignore[assignment]
            if outer is not self:
                outer.close()
        return here if b"/" in rel else Folder.open(self, self.spelt(rel) if rel else rel)

    def stat(self, name: bytes) -> os.stat_result | None:
        return super().stat(self.spelt(name))

    def read_link(self, name: bytes) -> bytes:
        return super().read_link(self.spelt(name))

    def open_file(self, name: bytes) -> int:
        return super().open_file(self.spelt(name))

    def write_hidden(self, name: bytes, chunks: Iterable[bytes], executable: bool) -> os.stat_result:
        self.take(name)
        return super().write_hidden(name, chunks, executable)

    def link_hidden(self, name: bytes, target: bytes) -> None:
        self.take(name)
        super().link_hidden(name, target)

    def make_dir(self, name: bytes) -> None:
        self.take(name)
        super().make_dir(name)

    def remove_dir(self, name: bytes) -> bool:
        return super().remove_dir(self.spelt(name))

    def exchange(self, temp: TempName, name: bytes) -> None:
        super().exchange(temp, self.spelt(name))

    def place(self, temp: TempName, name: bytes) -> None:
        self.take(name)
        super().place(temp, name)

    def take_aside(self, name: bytes) -> TempName:
        return super().take_aside(self.spelt(name))


class Ascii(Odd):
    """`a` is `A`, as XFS has it when asked."""

    @classmethod
    def key(cls, name: bytes) -> bytes:
        return name.lower()


class Apple(Odd):
    """As APFS and HFS+: case and form do not tell names apart, and names are text."""

    @classmethod
    def key(cls, name: bytes) -> bytes:
        return unicodedata.normalize("NFD", unicodedata.normalize("NFD", name.decode(errors="surrogateescape")).casefold()).encode(
            errors="surrogateescape"
        )

    def take(self, name: bytes) -> None:
        try:
            name.decode()
        except UnicodeDecodeError:
            raise InvalidValue("this disk cannot hold the name") from None
        super().take(name)


class Fat(Odd):
    """As FAT: capitals are the names, some marks are none, and a dot or a space at the end is lost."""

    bad: ClassVar[bytes] = b'<>:"|?*\\'

    @classmethod
    def key(cls, name: bytes) -> bytes:
        return name.decode(errors="surrogateescape").rstrip(". ").upper().encode(errors="surrogateescape")


class Hfs(Apple):
    """As HFS+: what comes in composed is listed decomposed."""

    def names(self) -> list[str]:
        return [unicodedata.normalize("NFD", name) for name in super().names()]
