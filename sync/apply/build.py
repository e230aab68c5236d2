"""New folders with all they hold, built out of sight and shown in one instant.

In a large plan most files are in folders that are new themselves (a clone, a branch switched). Such a folder is made under a
temporary name, its files are written there under their own names, and one rename shows it whole: nothing is seen to grow, and no
file needs a temporary of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from typing import Final, NamedTuple

from store.atomic import Folder, TempName
from store.errors import FastestError
from store.index import make_record
from store.types import DIR, Dir, Entry, File, Link, RelPath, parent_of
from sync.apply.site import Blobs, checked
from sync.core.plan import Action
from sync.progress import Progress
from sync.scan.mounts import check_room

GRAIN_NS: Final = 20_000_000
"""A file this much older than the moment its folder was shown has a time that no later write can give it again."""


class Built(NamedTuple):
    """A folder, not shown yet: its steps, what each became on disk, and why some could not be done."""

    temp: TempName
    made: list[tuple[Action, bytes, int]]
    """The step, its record, and the file's mtime_ns."""
    problems: dict[RelPath, str]


def find_new_folders(steps: Sequence[Action]) -> dict[RelPath, list[Action]]:
    """Each topmost new folder, with the steps for what is in it, from the top."""
    tops: dict[RelPath, RelPath] = {}
    found: dict[RelPath, list[Action]] = {}
    for step in steps:
        if step.expect is not None or step.become is None:
            continue
        top = tops.get(parent_of(step.path))
        if isinstance(step.become, Dir):
            tops[step.path] = top or step.path
            if top is None:
                found[step.path] = []
        if top is not None:
            found[top].append(step)
    return found


def build_folder(outer: Folder, top: RelPath, steps: Iterable[Action], blobs: Blobs, progress: Progress) -> Built:
    """Make a new folder and what is in it under a temporary name in `outer`. Raises what stands in the way of all of it."""
    temp = outer.make_temp_dir(top.rpartition(b"/")[2]).name
    built = Built(temp, [], {})
    with outer.open(temp) as base, ExitStack() as stack:
        here, path = base, top
        for step in steps:
            folder = parent_of(step.path)
            try:
                if folder != path:
                    stack.close()
                    # Should opening fail, `path` is no folder's, so the next step opens its own again.
                    path = RelPath(b"")
                    here, path = stack.enter_context(base.open(folder[len(top) + 1 :])), folder
                built.made.append((step, *_make(here, step.path.rpartition(b"/")[2], step.become, blobs)))
            except FastestError as error:
                built.problems[step.path] = built.problems.get(folder, error.message)
            progress.add()
    return built


def remove_built(outer: Folder, top: RelPath, built: Built) -> None:
    """Take it down again: its name was taken meanwhile."""
    with outer.open(built.temp) as base:
        for step, _, _ in reversed(built.made):
            folder, _, name = step.path[len(top) + 1 :].rpartition(b"/")
            with base.open(folder) as inside:
                if isinstance(step.become, Dir):
                    inside.remove_dir(name)
                else:
                    inside.discard(inside.take_aside(name))
    outer.remove_dir(built.temp)


def _make(folder: Folder, name: bytes, become: Entry | None, blobs: Blobs) -> tuple[bytes, int]:
    match become:
        case File():
            check_room(folder.fd, name, become.size)
            status = folder.write_hidden(name, checked(blobs, become), become.executable)
            return make_record(become, status), status.st_mtime_ns
        case Link():
            folder.link_hidden(name, become.target)
            return make_record(become, folder.stat(name), doubted=True), 0
        case _:
            folder.make_dir(name)
            return make_record(DIR, folder.stat(name)), 0
