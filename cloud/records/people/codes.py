"""Tables device_codes (a machine that waits to be let in, RFC 8628) and auth_codes (a code that was mailed)."""

from __future__ import annotations

import msgspec

from cloud.database import Reader, Tx


class Waiting(msgspec.Struct, frozen=True):
    """A machine that asked to be let in. `status`: pending, authorized, denied, consumed."""

    id: str
    user_code: str
    user_id: str | None
    status: str
    expires_at: str
    created_at: str
    interval_seconds: int
    polled_at: str | None
    machine: str
    address: str


class MailedCode(msgspec.Struct, frozen=True):
    """A code on its way to somebody's mailbox; `code` is a hash."""

    id: str
    email: str
    code: str
    expires_at: str
    created_at: str


_WAITING = "id, user_code, user_id, status, expires_at, created_at, interval_seconds, polled_at, machine, address"


async def add_waiting(tx: Tx, waiting: Waiting, code_hash: str) -> bool:
    """False when the user code is taken."""
    return (
        await tx.run(
            "INSERT INTO device_codes (id, device_code, user_code, status, expires_at, created_at, interval_seconds, machine, address)"
            " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (user_code) DO NOTHING",
            (
                waiting.id, code_hash, waiting.user_code, waiting.status, waiting.expires_at, waiting.created_at, waiting.interval_seconds,
                waiting.machine, waiting.address,
            ),
        ) == 1
    )  # fmt: skip


async def find_by_secret(reader: Reader, code_hash: str) -> Waiting | None:
    """The machine that holds this code."""
    row = await reader.one(f"SELECT {_WAITING} FROM device_codes WHERE device_code = $1", (code_hash,))
    return None if row is None else Waiting(*row)


async def find_by_user_code(reader: Reader, user_code: str) -> Waiting | None:
    """The machine that shows this code."""
    row = await reader.one(f"SELECT {_WAITING} FROM device_codes WHERE user_code = $1", (user_code,))
    return None if row is None else Waiting(*row)


async def decide(tx: Tx, waiting_id: str, status: str, user_id: str, now: str) -> bool:
    """From pending to authorized or denied; True for exactly one of those who decide."""
    return (
        await tx.run(
            "UPDATE device_codes SET status = $1, user_id = $2 WHERE id = $3 AND status = 'pending' AND expires_at > $4",
            (status, user_id, waiting_id, now),
        )
        == 1
    )


async def consume(tx: Tx, waiting_id: str, now: str) -> bool:
    """From authorized to consumed; True for exactly one of those who poll."""
    return (
        await tx.run(
            "UPDATE device_codes SET status = 'consumed' WHERE id = $1 AND status = 'authorized' AND expires_at > $2", (waiting_id, now)
        )
        == 1
    )


async def note_poll(tx: Tx, waiting_id: str, interval_seconds: int, at: str) -> None:
    """When it was asked for last, and how long to wait from now on."""
    await tx.run(
        "UPDATE device_codes SET interval_seconds = $1, polled_at = $2 WHERE id = $3",
        (interval_seconds, at, waiting_id),
    )


async def add_mailed(tx: Tx, mailed: MailedCode) -> None:
    """Keep a code that is about to be mailed."""
    await tx.run(
        "INSERT INTO auth_codes (id, email, code, expires_at, created_at) VALUES ($1, $2, $3, $4, $5)",
        (mailed.id, mailed.email, mailed.code, mailed.expires_at, mailed.created_at),
    )


async def try_mailed(tx: Tx, mailed_id: str, most: int, now: str) -> MailedCode | None:
    """Count one attempt, and what it is to be compared with; None for a code that is used, expired, unknown or tried too often."""
    tried = await tx.run(
        "UPDATE auth_codes SET attempts = attempts + 1 WHERE id = $1 AND used = 0 AND attempts < $2 AND expires_at > $3",
        (mailed_id, most, now),
    )
    row = await tx.one("SELECT id, email, code, expires_at, created_at FROM auth_codes WHERE id = $1", (mailed_id,)) if tried else None
    return None if row is None else MailedCode(*row)


async def use_mailed(tx: Tx, mailed_id: str, user_id: str) -> None:
    """It has let somebody in."""
    await tx.run("UPDATE auth_codes SET used = 1, user_id = $1 WHERE id = $2", (user_id, mailed_id))


async def purge_codes(tx: Tx, now: str, told_until: str) -> None:
    """Forget mailed codes that have expired, and machines that have been told so for a while."""
    await tx.run("DELETE FROM auth_codes WHERE expires_at <= $1", (now,))
    await tx.run("DELETE FROM device_codes WHERE expires_at <= $1", (told_until,))
