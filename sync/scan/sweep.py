"""Remove the temporaries that a crash left in a folder, and keep what they hold first.

A temporary is either ours, whole or half written, or a file of the user's that had just been swapped out of its place and not
been looked at yet. Which, its bytes tell: what the store knows is safe to remove, and all else is kept before it goes.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Collection, Iterable

from store.atomic import TEMP_PREFIX, Folder, TempName, translate_os_error
from store.errors import FastestError, FileMoved, Unwritable
from store.index import StatIndex, is_folder
from store.types import Digest, RelPath, Spot, is_ours, parent_of, show_path
from sync.core.plan import Problem
from sync.rules import IgnoreSource
from sync.scan.contents import Keeper, read_still
from sync.scan.mounts import mount_of

Keep = Callable[[bytes], Digest]


def sweep_temps(
    root: Folder, index: StatIndex, ignore: IgnoreSource, keeper: Keeper, keep: Keep, *, below: bool = True,
    sites: Collection[RelPath] = (),
) -> tuple[list[Digest], list[Problem]]:  # fmt: skip
    """Sweep all folders that are carried, or would be; without `below` the root alone. In `sites` a plan was at work: these are swept
    whatever the rules say. Returns what was kept, and what could not be removed.
    """
    kept: list[Digest] = []
    problems: list[Problem] = []
    waiting: list[bytes] = [*sites, b""]
    swept: set[bytes] = set()
    mount = mount_of(root.fd)
    while waiting:
        path = waiting.pop()
        if path in swept:
            continue
        swept.add(path)
        try:
            with root.open(path) as folder:
                # What is mounted there from elsewhere may have temporaries of somebody else.
                for entry in folder.scan() if mount_of(folder.fd) == mount else ():
                    name = os.fsencode(entry.name)
                    if name.startswith(TEMP_PREFIX):
                        _sweep(folder, path, TempName(name), keeper, keep, kept, problems)
                    elif below and entry.is_dir(follow_symlinks=False) and _is_carried(root, folder, path, name, index, ignore):
                        waiting.append(Spot(path, name).path)
        except FileMoved:
            continue  # it is gone
        except FastestError as error:
            problems.append(Problem(RelPath(path), error.code, error.message))
    return kept, problems


def find_sites(index: StatIndex, paths: Iterable[RelPath]) -> list[RelPath]:
    """The folders of these paths that are not carried yet: by the next start a rule may ignore them."""
    return [folder for folder in sorted(set(map(parent_of, paths))) if folder and not _is_known(index, folder)]


def _sweep(folder: Folder, path: bytes, temp: TempName, keeper: Keeper, keep: Keep, kept: list[Digest], problems: list[Problem]) -> None:
    try:
        kept += _remove(folder, temp, keeper, keep)
    except FastestError as error:
        problems.append(Problem(Spot(path, temp).path, error.code, error.message))


def _is_carried(root: Folder, folder: Folder, path: bytes, name: bytes, index: StatIndex, ignore: IgnoreSource) -> bool:
    if _is_known(index, Spot(path, name).path):
        return True
    return not is_ours(name) and ignore.rules_in(root, path, folder).admit(name, is_dir=True)


def _is_known(index: StatIndex, path: bytes) -> bool:
    record = index.get(path)
    return record is not None and is_folder(record)


def _remove(folder: Folder, temp: TempName, keeper: Keeper, keep: Keep) -> list[Digest]:
    """Remove one, with all below it where it is a folder that was being built; the digests of what had to be kept."""
    status = folder.stat(temp)
    if status is None:
        return []
    if stat.S_ISDIR(status.st_mode):
        with folder.open(temp) as inside:
            kept = [digest for entry in inside.scan() for digest in _remove(inside, _aside(inside, entry), keeper, keep)]
        if not folder.remove_dir(temp):
            raise Unwritable(f"{show_path(temp)} was left by a crash and is not empty", "Look into it, and remove it by hand.")
        return kept
    kept = []
    if stat.S_ISREG(status.st_mode):
        digest = _keep_unknown(folder, temp, status, keeper, keep)
        kept = [] if digest is None else [digest]
    elif stat.S_ISLNK(status.st_mode):
        kept = [keep(folder.read_link(temp))]
    folder.discard(temp)
    return kept


def _aside(folder: Folder, entry: os.DirEntry[str]) -> TempName:
    name = os.fsencode(entry.name)
    return TempName(name) if name.startswith(TEMP_PREFIX) else folder.take_aside(name)


def _keep_unknown(folder: Folder, temp: TempName, status: os.stat_result, keeper: Keeper, keep: Keep) -> Digest | None:
    fd = folder.open_file(temp)
    try:
        digest, data, _ = read_still(fd, status, keeper)
    except OSError as error:
        raise translate_os_error(error, temp) from error
    finally:
        os.close(fd)
    if data is None:
        return digest
    if not data or keeper.has(digest):
        return None
    keep(data)
    return digest
