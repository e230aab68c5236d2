"""Mistakes of the engine that the simulation must notice (`python -m tests.mutants`): name, what it is, file, a text and its other.

The first were made, and found by it: see found.py.
"""

from __future__ import annotations

ADOPT, RECOVER, ENGINE = "sync/adopt/__init__.py", "sync/adopt/recover.py", "sync/engine.py"
RUN, SITE = "sync/apply/run.py", "sync/apply/site.py"
TAKE, UNANSWERED = "sync/scan/take.py", "sync/outgoing/unanswered.py"
CARRIED_OUT = "    applied = _carry_out(replica, steps, lambda done: _note_placed(replica, done, received), kept_back)\n"

MISTAKES: tuple[tuple[str, str, str, str, str], ...] = (
    (
        "S2",
        "a file from the future is read ten times a second until then",
        TAKE,
        "        if status.st_ctime_ns <= now_ns:\n            return",
        "        if True:\n            return",
    ),
    (
        "S3",
        "a folder somebody else made is known without a look into it",
        RUN,
        "self._done(site, step, make_record(DIR, None))",
        "self._done(site, step, make_record(DIR, status))",
    ),
    (
        "S4",
        "what an interrupted pull did is planned as somebody's work here",
        "sync/adopt/begun.py",
        "replica.row.agreed_root if left is None else left.from_root\n",
        "replica.row.agreed_root\n",
    ),
    (
        "S5",
        "the executable bit is not synced",
        RUN,
        "                if self._durable:\n                    site.folder.sync(held.fd)\n",
        "",
    ),
    (
        "S6",
        "what a killed process did is taken for done unsynced",
        RECOVER,
        "            sync_file_system(root.fd)  #",
        "            pass  #",
    ),
    (
        "S7",
        "a removal whose folder is gone is left undone",
        RUN,
        "                if step.become is not None:\n                    raise\n",
        "                raise\n",
    ),
    (
        "S8",
        "agreed moves before the compare-and-swap answers",
        ENGINE,
        "                head = await self._send(remote, ready.outgoing, ready.frames)\n",
        "                row = self.replica.row\n"
        "                made = Head('', row.epoch, row.agreed_version + 1, ready.outgoing.root.hex(), row.agreed_snapshot or None)\n"
        "                await self._run(self._confirm, ready.outgoing, made)\n"
        "                head = await self._send(remote, ready.outgoing, ready.frames)\n",
    ),
    ("S9", "no journal", ADOPT, "        journal.begin(tx, replica.id, started)\n", ""),
    (
        "S10",
        "what came out of an exchange is not looked at",
        SITE,
        "        if status is None or not _is_same(status, held.status):\n            return False\n",
        "        if status is None:\n            return False\n",
    ),
    (
        "S11",
        "a file is replaced without a look",
        SITE,
        "            if unproven and not self._holds(fd, status, expect):\n",
        "            if False:\n",
    ),
    ("S12", "the index names frames that are not synced", "store/blobs/bulk.py", "        segment.sync()\n", ""),
    ("S13", "a push without an answer is forgotten", ENGINE, "        if self._pushed_from == since:\n", "        if False:\n"),
    (
        "S14",
        "a conflict is recorded once all is applied",
        ADOPT,
        f"received.draft, made, records)\n{CARRIED_OUT}",
        f"received.draft, made, [])\n{CARRIED_OUT}"
        "    replica.db.write_now(lambda tx: [conflicts.put_conflict(tx, one, sent=False) for one in records])\n",
    ),
    (
        "S15",
        "agreed moves though a step was stale",
        ADOPT,
        "        if not stale:\n            workspaces.set_agreed(",
        "        if True:\n            workspaces.set_agreed(",
    ),
    (
        "S16",
        "a crash's temporaries are left",
        RECOVER,
        "        kept, _ = scanner.sweep_temps(root, lambda data: adopt.keep_bytes(replica, data), below=below)\n",
        "        kept: list[Digest] = []\n",
    ),
    (
        "S17",
        "a file of a large plan takes its name before its bytes are synced",
        RUN,
        "        self.leave()\n        sync_file_system(self._root.fd)\n",
        "        self.leave()\n",
    ),
    ("S18", "a folder's names are not synced", RUN, "            if self._durable and site.touched:\n", "            if False:\n"),
    ("S19", "the database does not sync its log", "store/database/connection.py", '"synchronous": 2,', '"synchronous": 1,'),
    (
        "S20",
        "without an exchange, what is moved aside is linked and then unlinked",
        "store/atomic.py",
        "            if target.startswith(TEMP_PREFIX):",
        "            if False:",
    ),
)
