"""Table housekeeping: jobs on a timer, and which server process runs each."""

from __future__ import annotations

from cloud.database import Tx


async def take_turn(tx: Tx, name: str, holder: str, now: str, until: str, due_before: str) -> bool:
    """True when this process is to run the job: it was last done before `due_before`, and nobody is at it."""
    taken = await tx.run(
        "INSERT INTO housekeeping (name, holder, held_until) VALUES ($1, $2, $3) ON CONFLICT (name) DO UPDATE"
        " SET holder = excluded.holder, held_until = excluded.held_until WHERE housekeeping.held_until <= $4"
        " AND (housekeeping.finished_at IS NULL OR housekeeping.finished_at <= $5)",
        (name, holder, until, now, due_before),
    )
    return taken > 0


async def end_turn(tx: Tx, name: str, holder: str, at: str, *, done: bool, result: str) -> None:
    """Let the job go until `at`: what failed is tried again from then on, by whoever comes first."""
    await tx.run(
        "UPDATE housekeeping SET held_until = $1, result = $2 WHERE name = $3 AND holder = $4",
        (at, result, name, holder),
    )
    if done:
        await tx.run("UPDATE housekeeping SET finished_at = $1 WHERE name = $2 AND holder = $3", (at, name, holder))
