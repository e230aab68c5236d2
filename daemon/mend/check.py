"""`fst fsck`: read everything back, say what is wrong with it by path and state, and repair it where somebody still has it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import msgspec

from daemon.mend.kept import Trace, kept_roots, root_names, trace, where_named
from daemon.mend.reach import check_cloud
from daemon.mend.repair import check_index, renew_bases, repair_contents, repair_manifests, wake
from store.blobs import Problem
from store.errors import Corrupt, FastestError, StoreDamaged
from store.types import Digest, show_path
from sync.progress import Phase, Progress

if TYPE_CHECKING:
    from daemon.app import Daemon

SHOWN_PROBLEMS: Final = 1000
QUARANTINE: Final = "quarantine"
"""The folder of contents that are not what they were kept as: nobody is given them, a person may look."""


class FsckBody(msgspec.Struct):
    """The body of `POST /v1/fsck`."""

    repair: bool = False
    cloud: bool = False


class _Report(msgspec.Struct):
    """What the answer tells."""

    problems: list[str]
    blobs: int = 0
    repaired: int = 0
    sent: int = 0
    joined: list[str] = []
    database: bool = False

    def document(self) -> dict[str, Any]:
        return {
            "schema": 1, "clean": not self.problems, "blobs": self.blobs, "repaired": self.repaired, "sent": self.sent,
            "joined": self.joined, "database": self.database, "problems": self.problems[:SHOWN_PROBLEMS],
        }  # fmt: skip


async def check(daemon: Daemon, body: FsckBody, progress: Progress) -> dict[str, Any]:
    """Look, repair if asked to, and look again at what was repaired."""
    try:
        if body.repair or body.cloud:
            await _make_ready(daemon)
        found = await asyncio.to_thread(_read_back, daemon, progress)
        if any(one.is_database for one in found):
            # What else it says cannot be believed. The command builds it anew, without a daemon.
            return _Report([one.message for one in found], database=True).document()
        return await _check_content(daemon, body, found, progress)
    except StoreDamaged as error:
        return _Report([error.message], database=True).document()


async def _make_ready(daemon: Daemon) -> None:
    """Right after a start: folders are looked at, for they are sources, and whether the cloud answers is known."""
    await daemon.link.reach()
    for supervisor in list(daemon.supervisors.values()):
        if not supervisor.has_looked and supervisor.halt is None:
            with suppress(FastestError):  # the supervisor tells it
                await supervisor.look_now()


async def _check_content(daemon: Daemon, body: FsckBody, found: list[Problem], progress: Progress) -> dict[str, Any]:
    report = _Report([one.message for one in found])
    damaged = {one.digest for one in found if one.digest is not None}
    if body.repair:
        await asyncio.to_thread(daemon.blobs.read_in_segments)
        # What cannot be read is lacking from now on, and can be put or fetched again.
        await asyncio.to_thread(daemon.blobs.forget_damaged, damaged, daemon.settings.places.data / QUARANTINE)
        report.problems.clear()
    traced = await asyncio.to_thread(_trace, daemon, progress)
    if body.repair and traced.broken:
        broken = list(traced.broken)
        await repair_manifests(daemon, broken, progress)
        traced = await asyncio.to_thread(_trace, daemon, progress)
        report.repaired += sum(root not in traced.broken for root in broken)
        report.joined = [show_path(root) for root in await renew_bases(daemon, traced.broken)]
    lacking = await asyncio.to_thread(daemon.blobs.lacking, traced.wanted)
    if body.repair and lacking:
        before = len(lacking)
        try:
            lacking = await repair_contents(daemon, traced, lacking, progress)
        except FastestError as error:
            report.problems.append(f"the cloud could not be asked for what is not here: {error.message}")
            lacking = await asyncio.to_thread(daemon.blobs.lacking, lacking)
        report.repaired += before - len(lacking)
    report.problems += await _check_indexes(daemon, repair=body.repair)
    report.blobs = len(traced.wanted)
    report.problems += await asyncio.to_thread(_name, daemon, traced, lacking)
    if body.cloud:
        reached = await check_cloud(daemon, progress)
        report.sent = reached.sent
        report.problems += reached.problems
    if body.repair:
        wake(daemon)
    return report.document()


async def _check_indexes(daemon: Daemon, *, repair: bool) -> list[str]:
    """Folders whose index says other than their present state; none once it is repaired."""
    wrong = []
    for supervisor in list(daemon.supervisors.values()):
        with suppress(Corrupt):  # a state that cannot be read was told
            async with supervisor.turn() as engine:
                if await engine.verb(check_index, repair=repair):
                    continue
            if repair:
                supervisor.poke(rescan=True)
            else:
                wrong.append(f"{show_path(engine.replica.row.root)}: the index is not what its present state says")
    return wrong


def _read_back(daemon: Daemon, progress: Progress) -> list[Problem]:
    progress.begin(Phase.READING, daemon.blobs.bytes_to_read())
    return list(daemon.blobs.verify(progress.add))


def _trace(daemon: Daemon, progress: Progress) -> Trace:
    daemon.blobs.release_memory()  # what is remembered would hide what is wrong on the disk
    roots = kept_roots(daemon)
    progress.begin(Phase.TRACING, len(roots))
    return trace(daemon, roots, progress)


def _name(daemon: Daemon, traced: Trace, lacking: set[Digest]) -> list[str]:
    names = root_names(daemon.db.read())
    states = [f"{names.get(root, f'manifest {root.hex()}')} cannot be read: {reason}" for root, reason in sorted(traced.broken.items())]
    contents = [f"{named}: its content is not here (blob {digest.hex()})" for digest, named in where_named(daemon, lacking)]
    return states + sorted(contents)
