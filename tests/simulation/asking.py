"""What a person asks of the daemon, as its API's handlers do it; what it changes in the folder is theirs, and goes into the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from daemon import verbs
from daemon.verbs import Author
from store import conflicts, snapshots
from store.errors import FastestError
from store.types import RelPath
from sync.replica import LocalReplica
from tests.simulation.people import Tree, text_of, tree_of

if TYPE_CHECKING:
    from sync.engine import Engine
    from tests.simulation.machine import Machine

T = TypeVar("T")
EVER_MS = 1 << 62


class Asker:
    """One person at one machine, from one start of its daemon to its death."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._world = machine.world
        self._ledger = machine.world.ledger
        self.tasks: set[asyncio.Task[None]] = set()

    def ask(self, verb: str, *arguments: Any) -> None:
        """Begin; it ends with the daemon at the latest."""
        task = self._world.loop.create_task(self._ask(verb, *arguments))
        self.tasks.add(task)

    async def leave(self) -> None:
        """Nobody answers any more."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def _ask(self, verb: str, *arguments: Any) -> None:
        try:
            await getattr(self, "_" + verb.replace(" ", "_"))(*arguments)
        except FastestError as error:
            self._world.count(f"{verb}: {error.code}")
        else:
            self._world.count(verb)

    @property
    def _is_known(self) -> bool:
        """All that is in the folder was looked at."""
        agenda = self._machine.supervisor._agenda
        return not (agenda.waiting or self._machine.ears.has_news)

    async def _act(self, engine: Engine, verb: Callable[..., T], *arguments: Any, **options: Any) -> T:
        """Carry it out; whatever it leaves, also when it dies on the way, is there by this person's word."""
        before = tree_of(self._machine)

        def act(replica: LocalReplica) -> T:
            try:
                result = verb(replica, *arguments, **options)
            except BaseException:
                # Half of it is done, and may go with the power.
                after = tree_of(self._machine)
                self._ledger.excused.update(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))
                raise
            finally:
                self._ledger.look_for_torn(self._machine)
                after = tree_of(self._machine)
                self._machine.acted |= {
                    path: after.get(path, ()) for path in before.keys() | after.keys() if before.get(path) != after.get(path)
                }
                self._ledger.note(self._machine, before, after)
            return result

        return await engine.verb(act)

    # --- the history ----------------------------------------------------------------------------------------------------------------

    async def _snapshot(self) -> None:
        supervisor = self._machine.supervisor
        await supervisor.look_now()
        async with supervisor.turn() as engine:
            await engine.share()
            is_known, tree = self._is_known, tree_of(self._machine)
            taken = await engine.verb(verbs.take_snapshot, "asked for", Author())
            if taken is not None and is_known:
                self._machine.taken[taken.id] = tree

    async def _restore(self, which: int) -> None:
        await self._bring(which, [])

    async def _restore_one(self, which: int, path: bytes) -> None:
        await self._bring(which, [RelPath(path)])

    async def _bring(self, which: int, paths: list[RelPath]) -> None:
        supervisor = self._machine.supervisor
        rows = snapshots.list_snapshots(self._machine.db.read(), supervisor.workspace_id, newest=100)
        if not rows:
            return
        name = rows[which % len(rows)][0].id
        await supervisor.look_now()
        async with supervisor.turn() as engine:
            await engine.share()
            await engine.verb(verbs.take_snapshot, f"Before restoring from {name}", Author(), source="system")
            is_known, noted = self._is_known, self._ledger.noted
            _, act = await self._act(engine, verbs.restore, name, paths, dry_run=False)
            if is_known and noted + 1 == self._ledger.noted:
                self._judge_restored(name, paths)
            if act is not None:
                await engine.share()
                await engine.verb(verbs.take_snapshot, f"Restored from {name}", Author(), source="system")

    def _judge_restored(self, name: str, paths: list[RelPath]) -> None:
        """Nobody was at work meanwhile, so it is what it was."""
        wanted, features = self._machine.taken.get(name), self._world.history.features
        if wanted is None or features.rules or features.folds:
            return

        def part(tree: Tree) -> Tree:
            return {path: entry for path, entry in tree.items() if not paths or any((path + b"/").startswith(one + b"/") for one in paths)}

        if part(wanted) != part(tree_of(self._machine)):
            self._world.blame(
                "inexact", f"{self._machine.name}: restored {sorted(part(tree_of(self._machine)))}, it was {sorted(part(wanted))}"
            )

    async def _undo(self) -> None:
        supervisor = self._machine.supervisor
        await supervisor.look_now()
        async with supervisor.turn() as engine:
            await engine.share()
            await engine.verb(verbs.take_snapshot, "Before undo", Author(), source="system")
            self._ledger.note_undo(self._machine.acted, tree_of(self._machine))
            await self._act(engine, verbs.undo, dry_run=False)

    async def _resolve(self, how: str, number: int) -> None:
        supervisor = self._machine.supervisor
        chosen = conflicts.list_conflicts(self._machine.db.read(), supervisor.workspace_id)
        if not chosen:
            return
        await supervisor.look_now()
        async with supervisor.turn() as engine:
            text = text_of(number)
            self._ledger.learn(text)
            self._ledger.dismiss(self._machine, chosen)
            try:
                await self._act(engine, verbs.resolve, chosen, how, text)
            except BaseException:
                self._ledger.dismissed.add(text)  # nobody was told that it is kept: it may go with the power, and its person has it still
                raise

    # --- how it goes on ---------------------------------------------------------------------------------------------------------------

    async def _pause(self, seconds: float) -> None:
        await self._set_paused(self._machine.now_ms() + int(seconds * 1000))

    async def _resume(self) -> None:
        await self._set_paused(0)

    async def _set_paused(self, until_ms: int) -> None:
        supervisor = self._machine.supervisor
        async with supervisor.turn() as engine:
            await engine.verb(verbs.set_paused, until_ms)
        supervisor.poke()

    async def _approve(self) -> None:
        self._machine.approve()
