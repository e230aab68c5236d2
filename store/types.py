"""The values everything speaks of: digests, paths, entries, ids. They refuse to exist when invalid."""

from __future__ import annotations

import hashlib
import re
import secrets
import unicodedata
from collections.abc import Callable
from typing import NamedTuple, NewType

import msgspec

from store.errors import InvalidValue

Digest = NewType("Digest", bytes)
"""32 bytes: a SHA-256."""
RelPath = NewType("RelPath", bytes)
"""`/`-separated, relative, made only by `parse_path` (or taken from something that was)."""
Heard = Callable[[int], object]
"""Is told, now and then during a long work, how much more of it is done."""
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes from outside: no such document, not UTF-8, or nested without end."""

MAX_PATH_BYTES = 4096
MAX_NAME_BYTES = 255
_HEX64 = re.compile(r"[0-9a-f]{64}\Z")
_ULID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}\Z")
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_SHORT_NAMES = re.compile(rb"(git|fst)~[0-9]+\Z")
_NAME_END = re.compile(rb"[:\\]")
_OURS = (b".git", b".fst")
_CONTROLS = bytes(range(32)) + b"\x7f"


def unheard(amount: int) -> None:
    """A Heard for works that nobody waits for."""


def digest_of(data: bytes | bytearray | memoryview) -> Digest:
    """The name of these bytes."""
    return Digest(hashlib.sha256(data).digest())


def parse_digest(text: str) -> Digest:
    """64 lower-case hex digits -> Digest. Raises InvalidValue."""
    if not _HEX64.match(text):
        raise InvalidValue(f"not a SHA-256 in hex: {text[:80]!r}", "Give all 64 lower-case hex digits.")
    return Digest(bytes.fromhex(text))


def parse_path(raw: bytes) -> RelPath:
    """Raw bytes -> RelPath. Raises InvalidValue for a path that must exist nowhere (details.md, Names and entries)."""
    if not raw or len(raw) > MAX_PATH_BYTES or b"\0" in raw:
        raise InvalidValue(f"not a path: {show_path(raw[:120])}", "A path is 1 to 4,096 bytes without NUL.")
    for name in raw.split(b"/"):
        check_name(name)
    return RelPath(raw)


def check_name(name: bytes) -> None:
    """One component of a path. Raises InvalidValue."""
    if name in (b"", b".", b"..") or len(name) > MAX_NAME_BYTES or b"\0" in name or b"/" in name:
        raise InvalidValue(f"not a file name: {show_path(name[:120])}", "Empty, `.`, `..`, `/` and over 255 bytes are refused.")
    if is_ours(name):
        raise InvalidValue(f"a reserved name: {show_path(name)}", "`.git` and `.fst` are never synced, in any spelling.")


def is_ours(name: bytes) -> bool:
    """True for `.git` and `.fst` in any spelling that some file system folds to them.

    Ignorable code points, case, trailing dots and spaces, a stream suffix, a backslash and 8.3 names, as git's `verify_path` guards
    (CVE-2014-9390).
    """
    if name in _OURS:
        return True
    # Nearly all names leave here: ASCII has one spelling, but for its case, control characters and what may follow.
    if b"~" not in name and name.isascii():
        lowered = name.lower()
        return lowered[:4] in _OURS and not _NAME_END.split(lowered[4:].translate(None, _CONTROLS), maxsplit=1)[0].rstrip(b". ")
    text = name.decode("utf-8", "surrogateescape")
    kept = "".join(c for c in unicodedata.normalize("NFKC", text) if unicodedata.category(c) not in ("Cf", "Cc", "Mn"))
    # By way of capitals, as the tables of Windows go: they have one `I`, for the dotless `i` as well.
    folded = _NAME_END.split(kept.upper().casefold().encode("utf-8", "surrogateescape"), maxsplit=1)[0].rstrip(b". ")
    return folded in _OURS or _SHORT_NAMES.match(folded) is not None


def show_path(raw: bytes) -> str:
    """A path for people: control characters and bytes that are not UTF-8 come out escaped."""
    text = raw.decode("utf-8", "backslashreplace")
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def folders_above(path: bytes) -> list[RelPath]:
    """The path itself and each folder above it, without the root."""
    found = []
    while path:
        found.append(RelPath(path))
        path = path.rpartition(b"/")[0]
    return found


def parent_of(path: RelPath) -> RelPath:
    """The folder that holds this path; `b""` is the root."""
    return RelPath(path.rpartition(b"/")[0])


class Spot(NamedTuple):
    """Where something may have changed: a name in a folder; an empty name is any of them."""

    folder: bytes
    name: bytes

    @property
    def path(self) -> RelPath:
        """The whole path of the name."""
        return RelPath(self.folder + b"/" + self.name if self.folder else self.name)


def spot_of(path: bytes) -> Spot:
    """The spot of one path."""
    folder, _, name = path.rpartition(b"/")
    return Spot(folder, name)


class File(msgspec.Struct, frozen=True, gc=False):
    """A regular file: the digest and size of its bytes, and the owner's executable bit."""

    digest: Digest
    size: int
    executable: bool = False

    def __post_init__(self) -> None:
        if len(self.digest) != 32 or self.size < 0:
            raise InvalidValue("a file entry needs a 32-byte digest and a size of 0 or more")


class Dir(msgspec.Struct, frozen=True, gc=False):
    """A folder; every folder is an entry of its own, so that empty ones survive."""


class Link(msgspec.Struct, frozen=True, gc=False):
    """A symbolic link, kept as its target's bytes and never followed."""

    target: bytes

    def __post_init__(self) -> None:
        if not self.target or len(self.target) > MAX_PATH_BYTES or b"\0" in self.target:
            raise InvalidValue("a link's target is 1 to 4,096 bytes without NUL")


Entry = File | Dir | Link
DIR = Dir()


class Change(msgspec.Struct, frozen=True, gc=False):
    """One path's difference: `old` -> `new`, None where there is nothing."""

    path: RelPath
    old: Entry | None
    new: Entry | None


def new_ulid(now_ms: int) -> str:
    """26 characters, sorted by time: 48 bits of UTC milliseconds, 80 of the CSPRNG."""
    return encode_ulid(now_ms, secrets.token_bytes(10))


def encode_ulid(now_ms: int, tail: bytes) -> str:
    """Crockford base 32 of 6 bytes of time and 10 bytes of tail (github.com/ulid/spec)."""
    if not 0 <= now_ms < 1 << 48 or len(tail) != 10:
        raise InvalidValue("a ULID is 48 bits of time and 80 bits more")
    number = (now_ms << 80) | int.from_bytes(tail)
    return "".join(_CROCKFORD[(number >> shift) & 31] for shift in range(125, -1, -5))


def ulid_ms(text: str) -> int:
    """The UTC milliseconds that a ULID begins with. Raises InvalidValue."""
    number = 0
    for letter in parse_ulid(text)[:10]:
        number = number << 5 | _CROCKFORD.index(letter)
    return number


def parse_ulid(text: str) -> str:
    """The text itself when it is a ULID. Raises InvalidValue."""
    if not _ULID.match(text):
        raise InvalidValue(f"not an id: {text[:80]!r}", "An id is a ULID: 26 characters.")
    return text
