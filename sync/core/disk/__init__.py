"""What one disk keeps of what it is given: which names are one file to it, which it cannot hold, and whether files can be executable.

Theory. Store and cloud keep names byte for byte; what two names are to *this* disk, the disk is asked (sync/apply/probe.py). `fold`
gives a collision key: two names that are one file on the disk have one key. A key may be too broad (then a name is held that the disk
could have kept), never knowingly too narrow; where it is, the disk itself refuses the second name, and apply tells (sync/apply/run.py).
"""

from __future__ import annotations

from typing import Final
from unicodedata import normalize

import msgspec

from store.types import MAX_NAME_BYTES

MARKS: Final = frozenset('<>:"|?*\\') | frozenset(map(chr, range(32)))
"""What FAT, exFAT and NTFS refuse in a name."""
_PORTS: Final = ("COM", "LPT")
_DEVICES: Final = frozenset(["CON", "PRN", "AUX", "NUL", *(port + digit for port in _PORTS for digit in "123456789\u00b9\u00b2\u00b3")])


class Disk(msgspec.Struct, frozen=True):
    """What a disk was seen to do; the plain one keeps every name that POSIX allows, all apart, and the executable bit."""

    case: bool = False
    """`a` is `A`."""
    letters: bool = False
    """So are letters beyond ASCII: `é` is `É`."""
    wide: bool = False
    """And letters that fold to several: `ß` is `ss`."""
    forms: bool = False
    """A letter is the same in one code point and in two (NFC, NFD)."""
    marks: bool = False
    """`:` and its like are refused."""
    tails: bool = False
    """A dot or a space at the end is lost, as Windows has it; then its device names are nobody's either."""
    text: bool = False
    """What is not UTF-8 is refused."""
    lowers: bool = False
    """Capitals come back small."""
    decomposes: bool = False
    """A letter comes back in several code points (NFD)."""
    longest: int = MAX_NAME_BYTES
    """Bytes in a name, at most."""
    bits: bool = True
    """A file's executable bit is kept; where not, what was known of it stays, as nothing here can change it."""

    @property
    def folds(self) -> bool:
        """Two names may be one file."""
        return self.case or self.letters or self.wide or self.forms

    @property
    def refuses(self) -> bool:
        """Some names cannot be."""
        return self.marks or self.tails or self.text or self.lowers or self.decomposes or self.longest < MAX_NAME_BYTES

    def fold(self, name: bytes) -> bytes:
        """A name's collision key."""
        text = name.decode(errors="surrogateescape")
        if self.forms:
            text = normalize("NFD", text)
        if self.wide:
            text = text.casefold()
        elif self.letters:
            text = "".join(map(_fold_letter, text))
        key = text.encode(errors="surrogateescape")
        return key.lower() if self.case else key

    def refusal(self, name: bytes) -> str | None:
        """Why this disk cannot hold a name, as the end of a sentence; None when it can."""
        if len(name) > self.longest:
            return f"names here have at most {self.longest} bytes"
        text = name.decode(errors="surrogateescape")
        if self.text and any("\udc80" <= letter <= "\udcff" for letter in text):
            return "names here are UTF-8"
        if self.marks and (found := sorted(MARKS.intersection(text))):
            return f"names here have no {found[0]}" if found[0].isprintable() else "names here have no control characters"
        if self.tails and text.endswith((".", " ")):
            return "names here do not end with a dot or a space"
        if self.tails and text.partition(".")[0].rstrip(" ").upper() in _DEVICES:
            return "it is the name of a device here"
        if self.lowers and text != text.lower():
            return "names here lose their capitals"
        if self.decomposes and text != normalize("NFD", text):
            return "names here lose their form"
        return None


PLAIN: Final = Disk()


def _fold_letter(letter: str) -> str:
    """Upper and lower case as one, a code point for a code point, as the tables of exFAT and NTFS have it."""
    upper = letter.upper()
    lower = (upper if len(upper) == 1 else letter).lower()
    return lower if len(lower) == 1 else letter
