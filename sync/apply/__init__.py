"""Carry out a plan on a folder: never absent, never torn, and never over an edit nobody has seen.

Theory. Each step says what it expects at its path. It looks first, so that what changed is left alone; but between a look and a
rename somebody may save, so the rename decides nothing either (A3): the new entry is swapped in, the old one comes out in the same
instant under a temporary name, and is looked at once it cannot be reached by its name any more. If it is the very file that was
looked at, and nobody has it open for writing, it is ours to discard. If not, it goes back and the step is stale (A2).

Going back is a swap, too, so what comes out then may be newer still; then that goes back in. So the newest save keeps the name, and
the older bytes in hand are kept in the store before they are discarded (R1). Before a displaced file is discarded it is looked at
once more, after the folder was synced or others were written: a writer that was about to open it has had time to.

A crash at any point leaves temporaries, which `sync.scan.sweep` keeps and removes; the plan itself is made again (A1).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Final

from store.atomic import Folder, sync_file_system
from store.index import StatIndex
from store.types import RelPath
from sync.apply.applied import Applied
from sync.apply.run import Run
from sync.apply.site import Blobs, Keep
from sync.core.plan import Action
from sync.progress import Progress
from sync.rules import IgnoreSource

__all__ = ["Applied", "Blobs", "Keep", "apply_plan"]

FEW_STEPS: Final = 100
"""Up to here each file is synced before it goes in, and each folder after; beyond, one sync of the file system ends the plan."""


def apply_plan(
    steps: Sequence[Action], root: Folder, blobs: Blobs, index: StatIndex, *, keep: Keep, ignore: IgnoreSource | None = None,
    progress: Progress | None = None, bits: bool = True, placed: Callable[[Sequence[Action]], None] | None = None,
    kept_back: Collection[RelPath] = (),
) -> Applied:  # fmt: skip
    """Carry out steps in their order. What was done is durable on return. `bits`: this disk keeps executable bits.

    `ignore` tells ignored leftovers in a folder that is to go from new files: the first are a problem, the second make it stale.
    `placed` is told of each step once it is in the folder, durable or not. `kept_back`: files that stay, and have no step; a folder that
    is to go and has one, or is to come where one is, is a problem.
    """
    few = len(steps) <= FEW_STEPS
    run = Run(root, blobs, index, keep, ignore, progress or Progress(), placed, kept_back, durable=few, bits=bits)
    try:
        if few:
            for step in steps:
                run.carry_out(step)
        else:
            run.carry_out_all(steps)
    finally:
        run.leave()
    if not few:
        sync_file_system(root.fd)
    return run.applied
