"""The steps of a plan, one after the other, one open folder at a time."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack, suppress
from typing import Final, NamedTuple

from store.atomic import Folder, TempName, Written, sync_file_system
from store.errors import FastestError, FileMoved, InvalidValue, Unwritable
from store.index import StatIndex, doubt_record, make_record
from store.types import DIR, Dir, Entry, File, Link, RelPath, is_ours, parent_of, show_path
from sync.apply.applied import Applied
from sync.apply.build import GRAIN_NS, Built, build_folder, find_new_folders, remove_built
from sync.apply.site import Blobs, Held, Keep, Site
from sync.core.ignore import RULE_FILES
from sync.core.plan import Action
from sync.progress import Progress
from sync.rules import IgnoreSource
from sync.scan.mounts import mount_of

WAITING_FILES: Final = 16
"""Displaced files that wait for their last look, at most."""
BATCH_STEPS: Final = 1_000
"""Of a large plan, steps whose files are written ahead and synced together."""


class _Displaced(NamedTuple):
    """What came out, and went out of reach, waiting for its last look."""

    step: Action
    name: bytes
    temp: TempName
    held: Held
    ours: Written | None
    """What went in."""
    record: bytes | None


class Run:
    """One plan being carried out."""

    def __init__(
        self, root: Folder, blobs: Blobs, index: StatIndex, keep: Keep, ignore: IgnoreSource | None, progress: Progress,
        placed: Callable[[Sequence[Action]], None] | None = None, kept_back: Collection[RelPath] = (), *, durable: bool, bits: bool = True,
    ) -> None:  # fmt: skip
        self.applied = Applied.nothing()
        self._root = root
        self._mount = mount_of(root.fd)
        self._blobs = blobs
        self._index = index
        self._keep = keep
        self._ignore = ignore
        self._progress = progress
        self._placed = placed
        self._kept_back = frozenset(kept_back)
        self._told = 0
        self._durable = durable
        self._bits = bits
        self._site: Site | None = None
        self._waiting: list[_Displaced] = []
        self._prepared: dict[RelPath, Written] = {}

    # --- folders ------------------------------------------------------------------------------------------------------------------

    def carry_out(self, step: Action) -> None:
        """One step; whatever comes of it is noted."""
        self._try(step)
        self._tell()
        self._progress.add()

    def _try(self, step: Action) -> None:
        folder, _, name = step.path.rpartition(b"/")
        if step.become is not None and self._refuse_below(step.path):
            return
        try:
            try:
                site = self._enter(RelPath(folder))
            except FileMoved:
                if step.become is not None:
                    raise
                # Its folder is gone, and it with it. Left undone, a folder's removal would be kept without that of what was in it.
                self._note(step, None)
                return
            try:
                self._act(site, name, step)
            except FileMoved:
                self._accept(site, name, step)
        except FileMoved:
            if not self._refuse_below(step.path):
                self.applied.stale.append(step.path)
        except FastestError as error:
            self.applied.problems[step.path] = error.message
            if isinstance(error, InvalidValue):
                self.applied.misnamed.add(step.path)

    def carry_out_all(self, steps: Sequence[Action]) -> None:
        """A large plan: new folders are built out of sight first, and shown when their turn comes; all else goes step by step."""
        folders = find_new_folders(steps)
        built = {top: its for top in folders if folders[top] and (its := self._build(top, folders[top])) is not None}
        inside = {step.path for top in built for step in folders[top]}
        rest = [step for step in steps if step.path not in inside]
        for at in range(0, len(rest), BATCH_STEPS):
            batch = rest[at : at + BATCH_STEPS]
            self._prepare(batch)
            for step in batch:
                if step.path in built:
                    self._show(step, folders[step.path], built[step.path])
                    self._progress.add()
                else:
                    self.carry_out(step)
            self._discard_prepared()

    def leave(self) -> None:
        """Make what was done in the open folder durable, take a last look at what came out, and close it."""
        site, self._site = self._site, None
        if site is None:
            return
        try:
            if self._durable and site.touched:
                site.folder.sync()
            self._discard_waiting(site)
            for path, error in site.settle():
                self.applied.problems[path] = error.message
        finally:
            while self._waiting:
                self._waiting.pop().held.close()
            site.folder.close()
            self._tell()

    def _enter(self, path: RelPath) -> Site:
        if self._site is None or self._site.path != path:
            self.leave()
            folder = self._root.open(path)
            if mount_of(folder.fd) != self._mount:
                folder.close()
                raise Unwritable(f"{show_path(path)} is mounted there from elsewhere; nothing is written to it.", "Unmount it.")
            self._site = Site(folder, path, self._index, self._blobs, self._keep, self.applied.rescued, bits=self._bits)
        return self._site

    def _refuse_below(self, path: RelPath) -> bool:
        """Nothing goes into a folder that could not be made: by another spelling it may be there, or what is held back is at its name."""
        above = path if self.applied.problems or self._kept_back else RelPath(b"")
        while above := parent_of(above):
            if above in self._kept_back:
                self.applied.problems[path] = f"{show_path(path)} is not written here: {show_path(above)} is held back."
                return True
            if above in self.applied.problems:
                self.applied.problems[path] = self.applied.problems[above]
                if above in self.applied.misnamed:
                    self.applied.misnamed.add(path)
                return True
        return False

    # --- ahead of a large plan ----------------------------------------------------------------------------------------------------

    def _prepare(self, steps: Sequence[Action]) -> None:
        """Write these files beside their names, and sync all of it at once: no name may be given to bytes that are not on disk (R2)."""
        for step in steps:
            if isinstance(step.become, File) and not (isinstance(step.expect, File) and step.expect.digest == step.become.digest):
                folder, _, name = step.path.rpartition(b"/")
                # Whatever is in the way now is met, and told, when the step's turn comes.
                with suppress(FastestError):
                    site = self._enter(RelPath(folder))
                    like = site.folder.stat(name) if isinstance(step.expect, File) else None
                    self._prepared[step.path] = site.make(name, step.become, like, fsync=False)
        self.leave()
        sync_file_system(self._root.fd)

    def _discard_prepared(self) -> None:
        """What was written for steps that were not taken."""
        while self._prepared:
            path, ours = self._prepared.popitem()
            with suppress(FastestError), self._root.open(parent_of(path)) as folder:
                folder.discard(ours.name)

    def _make(self, site: Site, name: bytes, step: Action, become: Entry, like: os.stat_result | None) -> Written:
        return self._prepared.pop(step.path, None) or site.make(name, become, like, fsync=True)

    # --- new folders --------------------------------------------------------------------------------------------------------------

    def _build(self, top: RelPath, steps: list[Action]) -> Built | None:
        """None when it cannot be built ahead; what is in the way is then met step by step."""
        try:
            return build_folder(self._enter(parent_of(top)).folder, top, steps, self._blobs, self._progress)
        except FastestError:
            return None

    def _show(self, top: Action, steps: list[Action], built: Built) -> None:
        name = top.path.rpartition(b"/")[2]
        try:
            site = self._enter(parent_of(top.path))
            try:
                site.folder.place(built.temp, name)
            except FastestError:
                remove_built(site.folder, top.path, built)
                raise
        except FastestError:
            for step in (top, *steps):
                self._try(step)
            return
        status = site.folder.stat(name)
        self._done(site, top, site.record_dir(name))
        sure_ns = 0 if status is None else status.st_ctime_ns - GRAIN_NS
        for step, record, mtime_ns in built.made:
            self._done(site, step, record if mtime_ns < sure_ns else doubt_record(record))
        self._tell()
        self.applied.problems.update(built.problems)

    # --- steps --------------------------------------------------------------------------------------------------------------------

    def _act(self, site: Site, name: bytes, step: Action) -> None:
        """Raises FileMoved when what is there is not what was expected."""
        match step.expect, step.become:
            case None, Dir():
                site.folder.make_dir(name)
                self._done(site, step, site.record_dir(name))
            case None, (File() | Link()) as become:
                self._place(site, name, step, become)
            case Dir(), None:
                self._remove_dir(site, name, step.path)
                self._done(site, step, None)
            case Dir(), (File() | Link()) as become:
                # The one short gap: a folder may not be swapped out of sight with something in it, so it goes first, if it is empty.
                self._remove_dir(site, name, step.path)
                self._place(site, name, step, become)
            case (File() | Link()) as expect, None:
                self._remove(site, name, step, expect)
            case File() as expect, File() as become if expect.digest == become.digest:
                self._set_bit(site, name, step, expect, become)
            case (File() | Link()) as expect, (File() | Link() | Dir()) as become:
                self._replace(site, name, step, expect, become)
            case _:
                self._accept(site, name, step)

    def _place(self, site: Site, name: bytes, step: Action, become: File | Link) -> None:
        ours = self._make(site, name, step, become, None)
        try:
            site.folder.place(ours.name, name)
        except FastestError:
            site.folder.discard(ours.name)
            raise
        self._done(site, step, site.record(name, become, ours))

    def _replace(self, site: Site, name: bytes, step: Action, expect: File | Link, become: Entry) -> None:
        held = site.look(name, step.path, expect)
        with ExitStack() as stack:
            stack.callback(held.close)
            ours = self._make(site, name, step, become, held.status if isinstance(expect, File) else None)
            site.swap_in(ours, name, step.path, become)
            if not site.is_still(ours.name, held):
                site.put_back(ours.name, name, step.path, ours, become)
                raise FileMoved(f"{show_path(step.path)} was saved meanwhile")
            displaced = _Displaced(step, name, ours.name, held, ours, site.record(name, become, ours))
            stack.pop_all()
        self._wait(site, displaced)

    def _remove(self, site: Site, name: bytes, step: Action, expect: File | Link) -> None:
        held = site.look(name, step.path, expect)
        with ExitStack() as stack:
            stack.callback(held.close)
            temp = site.folder.take_aside(name)
            site.touched = True
            if not site.is_still(temp, held):
                site.give_back(temp, name, step.path)
                raise FileMoved(f"{show_path(step.path)} was saved meanwhile")
            stack.pop_all()
        self._wait(site, _Displaced(step, name, temp, held, None, None))

    def _set_bit(self, site: Site, name: bytes, step: Action, expect: File, become: File) -> None:
        held = site.look(name, step.path, expect)
        try:
            if self._bits:
                site.folder.set_executable(name, held.fd, become.executable)
                if self._durable:
                    site.folder.sync(held.fd)
            status = site.folder.stat(name)
            if status is None or status.st_ino != held.status.st_ino:
                raise FileMoved(f"{show_path(step.path)} was saved meanwhile")
            self._done(site, step, make_record(become, status, doubted=True))
        finally:
            held.close()

    def _remove_dir(self, site: Site, name: bytes, path: RelPath) -> None:
        """Raises FileMoved when something new is in it, Unwritable when it is only what a rule ignores, was refused, or is held back."""
        if site.folder.remove_dir(name):
            return
        with site.folder.open(name) as inside:
            if not all(self._may_stay(path, inside, entry) for entry in inside.scan()):
                raise FileMoved(f"{show_path(path)} is not empty")
        told = f"{show_path(path)} still holds files that are ignored or held back."
        raise Unwritable(told, "Remove it by hand if they are not needed.")

    def _may_stay(self, path: RelPath, inside: Folder, entry: os.DirEntry[str]) -> bool:
        """True for a name that keeps a folder from going, and is not carried."""
        name = os.fsencode(entry.name)
        below = RelPath(path + b"/" + name)
        if below in self.applied.problems or below in self._kept_back or is_ours(name):
            return True
        if self._ignore is None:
            return False
        return not self._ignore.rules_in(self._root, path, inside).admit(name, entry.is_dir(follow_symlinks=False))

    def _accept(self, site: Site, name: bytes, step: Action) -> None:
        """A1: a step that was taken already is done. Raises FileMoved when it was not."""
        status = site.folder.stat(name)
        shown = show_path(step.path)
        if step.expect is None and status is None:
            raise Unwritable(f"the system did not take {shown}", "It is tried again by itself.")
        if step.expect is None and not site.has_name(name):
            raise InvalidValue(f"{shown} is not written here: this disk takes its name for another's.", "Rename one of the two.")
        match step.become:
            case None if status is None:
                self._done(site, step, None)
            case Dir() if status is not None and stat.S_ISDIR(status.st_mode):
                # Somebody else may have made it, and what they put in it was never looked at: the next look lists it.
                self._done(site, step, make_record(DIR, None))
            case (File() | Link()) as become:
                held = site.look(name, step.path, become)
                held.close()
                self._done(site, step, make_record(become, held.status, doubted=True))
            case _:
                raise FileMoved(f"{shown} is not what was expected")

    # --- what came out ------------------------------------------------------------------------------------------------------------

    def _wait(self, site: Site, displaced: _Displaced) -> None:
        self._waiting.append(displaced)
        if len(self._waiting) >= WAITING_FILES:
            self._discard_waiting(site)

    def _discard_waiting(self, site: Site) -> None:
        while self._waiting:
            each = self._waiting.pop(0)
            try:
                if site.is_still(each.temp, each.held):
                    site.folder.discard(each.temp)
                    self._done(site, each.step, each.record)
                else:
                    # Somebody wrote to it after all: they were about to open it when it came out.
                    self._revive(site, each)
                    self.applied.stale.append(each.step.path)
            except FastestError as error:
                self.applied.problems[each.step.path] = error.message
            finally:
                each.held.close()
        self._tell()

    def _revive(self, site: Site, each: _Displaced) -> None:
        if each.ours is None or each.step.become is None:
            site.give_back(each.temp, each.name, each.step.path)
        else:
            site.put_back(each.temp, each.name, each.step.path, each.ours, each.step.become)

    def _done(self, site: Site, step: Action, record: bytes | None) -> None:
        site.touched = True
        self._note(step, record)

    def _note(self, step: Action, record: bytes | None) -> None:
        self.applied.done.append(step)
        if isinstance(step.expect, Dir) and not isinstance(step.become, Dir):
            self._note_gone_below(step.path)
        if self._ignore is not None and isinstance(step.become, Dir) and not isinstance(step.expect, Dir):
            self._ignore.begin_folder(step.path)
        if self._ignore is not None and step.path.rpartition(b"/")[2] in RULE_FILES:
            self._ignore.note_written(step.path, is_gone=step.become is None)
            record = None if step.become is None else make_record(step.become, None)
        self.applied.seen[step.path] = record

    def _note_gone_below(self, folder: RelPath) -> None:
        """A folder that is gone holds nothing: what was left alone in it went with it, and would be in no folder."""
        kept_back = {path for path in self._kept_back if path.startswith(folder + b"/")}
        for path in self.applied.forget_below(folder) | kept_back:
            self._note(Action(path, None, None), None)

    def _tell(self) -> None:
        """Whoever wants to know it after a kill is told of what was done since."""
        if self._placed is not None and self._told < len(self.applied.done):
            self._placed(self.applied.done[self._told :])
            self._told = len(self.applied.done)
