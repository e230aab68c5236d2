"""Table housekeeping: jobs on a timer, and which server process runs each."""

from __future__ import annotations

from cloud.database import Tx


async def take_turn(tx: Tx, name: str, holder: str, now: str, until: str, due_before: str) -> bool:
    """True when this process is to run the job: it was last done before `due_before`, and nobody is at it.

    A job that was never seen counts as done now: a new cloud has a day before anything can be due, and its first hour is its busiest.
    """
    await tx.run(
        "INSERT INTO housekeeping (name, holder, held_until, finished_at) VALUES ($1, '', $2, $2) ON CONFLICT (name) DO NOTHING",
        (name, now),
    )
    taken = await tx.run(
        "UPDATE housekeeping SET holder = $1, held_until = $2 WHERE name = $3 AND held_until <= $4"
        " AND (finished_at IS NULL OR finished_at <= $5)",
        (holder, until, name, now, due_before),
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
