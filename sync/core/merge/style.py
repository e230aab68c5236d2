"""What an undecided path leaves in the folder, beside its record: the three styles of `conflict.style`.

Theory. In every style the record holds both sides until a person resolves it, and no other machine need know the style.

    record    nothing: the path has what the head has
    copy      the side that lost its place stands beside it, as an ordinary file from then on
    markers   the path has both sides, with markers around what does not join; as `record` where that cannot be said in the text

Nothing here depends on a clock, on chance or on who decides: machines that come to one clash leave the same bytes under the same name,
so that theirs is no clash again. A copy only ever takes a free name, and goes in before the path it is of changes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from typing import Final

from store.errors import InvalidValue
from store.types import MAX_NAME_BYTES, Dir, Entry, File, Link, RelPath, digest_of, parse_path
from sync.core.merge.join import is_text
from sync.core.merge.marked import merge_marked
from sync.core.plan import Action, Clash

TAG_DIGITS: Final = 12
MAX_COPIES: Final = 1000
MAX_SUFFIX_BYTES: Final = 16
"""A longer end of a name says nothing about its kind."""
_AFTER: Final = re.compile(rb"\.conflict-[0-9a-f]{%d}(?:-[0-9]+)?|\.(?:ours|theirs)[0-9]*\Z" % TAG_DIGITS)
_MARK: Final = re.compile(rb"^(?:<{7}|>{7})", re.MULTILINE)
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")


class Style(StrEnum):
    """A value of `conflict.style`."""

    RECORD = "record"
    COPY = "copy"
    MARKERS = "markers"


def lost_entry(ours: Entry | None, theirs: Entry | None) -> File | Link | None:
    """The side of a clash that has no place of its own: ours, unless that is a folder, which keeps its name."""
    lost = theirs if isinstance(ours, Dir) else ours
    return None if isinstance(lost, Dir) else lost


def copy_names(path: RelPath, lost: File | Link) -> Iterator[RelPath]:
    """`notes.conflict-0123456789ab.txt` and, should that be taken by another content, `...ab-2.txt` and so on.

    By the path and the content alone. A long name is cut, between letters; none are left where no such path can be.
    """
    folder, slash, name = path.rpartition(b"/")
    stem, dot, suffix = name.rpartition(b".")
    if not stem or len(suffix) > MAX_SUFFIX_BYTES:
        stem, dot, suffix = name, b"", b""
    tag = (lost.digest if isinstance(lost, File) else digest_of(lost.target)).hex()[:TAG_DIGITS]
    for number in range(1, MAX_COPIES):
        end = f".conflict-{tag}{'' if number == 1 else f'-{number}'}".encode() + dot + suffix
        try:
            yield parse_path(folder + slash + cut_name(stem, MAX_NAME_BYTES - len(end)) + end)
        except InvalidValue:
            return  # the path would be too long, or one that must exist nowhere


def cut_name(name: bytes, size: int) -> bytes:
    """The first bytes of a name; no letter of UTF-8 is cut in two."""
    while 0 < size < len(name) and name[size] & 0xC0 == 0x80:
        size -= 1
    return name[:size]


def named_after(path: RelPath) -> RelPath:
    """The path that a copy was named after, so that the copy of a secret is one, too; any other path is itself."""
    folder, slash, name = path.rpartition(b"/")
    while (shorter := _AFTER.sub(b"", name)) not in (name, b""):
        name = shorter
    return RelPath(folder + slash + name)


def draw_copies(
    clashes: Iterable[Clash], entry_at: Callable[[RelPath], Entry | None], is_free: Callable[[RelPath], bool]
) -> list[Action]:  # fmt: skip
    """The steps that put each side that loses its place beside it, to be carried out before any other.

    `entry_at` is what a path will have; `is_free` says that the disk has nothing there, carried or not. A copy that is there is not
    made again.
    """
    made: dict[RelPath, Action] = {}
    for clash in clashes:
        lost = lost_entry(clash.ours, clash.theirs)
        for path in copy_names(clash.path, lost) if lost is not None else ():
            there = made[path].become if path in made else entry_at(path)
            if there is None and is_free(path):
                made[path] = Action(path, None, lost)
                break
            if there == lost:
                break
    return list(made.values())


def mark_both(base: bytes, ours: bytes, theirs: bytes) -> bytes | None:
    """One text of both sides, markers around what does not join. None for what is not surely text, or has markers already."""
    if not all(map(_is_surely_text, (base, ours, theirs))) or _MARK.search(ours) or _MARK.search(theirs):
        return None
    return merge_marked(base, ours, theirs, ours_label="ours", theirs_label="theirs")


def _is_surely_text(data: bytes) -> bool:
    """UTF-8 without control characters: a marker put into anything else may be read as something else."""
    if not is_text(data) or _CONTROL.search(data):
        return False
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
