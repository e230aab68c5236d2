"""Tables sessions and stream_tickets."""

from __future__ import annotations

import msgspec

from cloud.database import Reader, Tx
from cloud.records.people.accounts import Account


class Session(msgspec.Struct, frozen=True):
    """One sign-in, as its owner sees it. `scope`: `user` (a machine's token), `web` (these pages), or what it is good for alone."""

    id: str
    scope: str
    machine: str
    address: str
    created_at: str
    last_seen_at: str | None
    expires_at: str


async def add_session(tx: Tx, session: Session, user_id: str, token_hash: str) -> None:
    """Keep a new session by its token's SHA-256."""
    await tx.run(
        "INSERT INTO sessions (id, user_id, token_hash, scope, machine, address, created_at, expires_at)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        (session.id, user_id, token_hash, session.scope, session.machine, session.address, session.created_at, session.expires_at),
    )


async def find_session(reader: Reader, token_hash: str, scope: str, now: str) -> tuple[str, Account] | None:
    """The stored hash and the account of an unexpired session of this scope."""
    row = await reader.one(
        "SELECT s.token_hash, u.id, u.email, u.name, u.picture, s.id, s.last_seen_at FROM sessions s JOIN users u ON u.id = s.user_id"
        " WHERE s.token_hash = $1 AND s.scope = $2 AND s.expires_at > $3",
        (token_hash, scope, now),
    )
    return None if row is None else (row[0], Account(*row[1:]))


async def list_sessions(reader: Reader, user_id: str, now: str) -> list[Session]:
    """Those that have not expired, the newest first."""
    rows = await reader.rows(
        "SELECT id, scope, machine, address, created_at, last_seen_at, expires_at FROM sessions WHERE user_id = $1 AND expires_at > $2"
        " ORDER BY created_at DESC, id DESC",
        (user_id, now),
    )
    return [Session(*row) for row in rows]


async def is_live(reader: Reader, session_id: str, now: str) -> bool:
    """True while the session is neither revoked nor expired."""
    return await reader.one("SELECT 1 FROM sessions WHERE id = $1 AND expires_at > $2", (session_id, now)) is not None


async def touch_session(tx: Tx, session_id: str, at: str) -> None:
    """It was used."""
    await tx.run("UPDATE sessions SET last_seen_at = $1 WHERE id = $2", (at, session_id))


async def remove_session(tx: Tx, user_id: str, session_id: str) -> bool:
    """Revoke one session; its token is worth nothing from here on. False when there is none."""
    return await tx.run("DELETE FROM sessions WHERE user_id = $1 AND id = $2", (user_id, session_id)) == 1


async def purge_sessions(tx: Tx, now: str) -> None:
    """Forget the expired ones, and the tickets that were not used."""
    await tx.run("DELETE FROM stream_tickets WHERE expires_at <= $1", (now,))
    await tx.run("DELETE FROM sessions WHERE expires_at <= $1", (now,))


async def add_ticket(tx: Tx, ticket_hash: str, session_id: str, expires_at: str) -> None:
    """Keep a new ticket by its SHA-256."""
    await tx.run(
        "INSERT INTO stream_tickets (ticket_hash, session_id, expires_at) VALUES ($1, $2, $3)", (ticket_hash, session_id, expires_at)
    )


async def find_ticket(reader: Reader, ticket_hash: str, now: str) -> Account | None:
    """Whose it is, while both it and its session live."""
    row = await reader.one(
        "SELECT u.id, u.email, u.name, u.picture, s.id, s.last_seen_at FROM stream_tickets t JOIN sessions s ON s.id = t.session_id"
        " JOIN users u ON u.id = s.user_id WHERE t.ticket_hash = $1 AND t.expires_at > $2 AND s.expires_at > $2",
        (ticket_hash, now),
    )
    return None if row is None else Account(*row)


async def remove_ticket(tx: Tx, ticket_hash: str) -> bool:
    """Use it up; True for exactly one of those who try."""
    return await tx.run("DELETE FROM stream_tickets WHERE ticket_hash = $1", (ticket_hash,)) == 1
