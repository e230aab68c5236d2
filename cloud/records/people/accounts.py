"""Tables users and sessions."""

from __future__ import annotations

import msgspec

from cloud.database import Reader, Tx


class Account(msgspec.Struct, frozen=True):
    """Who is asking, through which session."""

    user_id: str
    email: str
    name: str | None
    picture: str | None
    session_id: str


async def find_user(reader: Reader, email: str) -> str | None:
    """The id of the user with this lower-case address."""
    row = await reader.one("SELECT id FROM users WHERE email = $1", (email,))
    return None if row is None else str(row[0])


async def add_user(tx: Tx, user_id: str, email: str, at: str) -> None:
    """Keep a new user."""
    await tx.run("INSERT INTO users (id, email, created_at) VALUES ($1, $2, $3)", (user_id, email, at))


async def add_session(tx: Tx, session_id: str, user_id: str, token_hash: str, expires_at: str, at: str) -> None:
    """Keep a new session by its token's SHA-256."""
    await tx.run(
        "INSERT INTO sessions (id, user_id, token_hash, expires_at, created_at) VALUES ($1, $2, $3, $4, $5)",
        (session_id, user_id, token_hash, expires_at, at),
    )


async def find_session(reader: Reader, token_hash: str, now: str) -> tuple[str, Account] | None:
    """The stored hash and the account of an unexpired session."""
    row = await reader.one(
        "SELECT s.token_hash, u.id, u.email, u.name, u.picture, s.id FROM sessions s JOIN users u ON u.id = s.user_id"
        " WHERE s.token_hash = $1 AND s.expires_at > $2",
        (token_hash, now),
    )
    return None if row is None else (row[0], Account(*row[1:]))


async def is_live(reader: Reader, session_id: str, now: str) -> bool:
    """True while the session is neither revoked nor expired."""
    return await reader.one("SELECT 1 FROM sessions WHERE id = $1 AND expires_at > $2", (session_id, now)) is not None


async def remove_session(tx: Tx, user_id: str, session_id: str) -> None:
    """Revoke one session; its token is worth nothing from here on."""
    await tx.run("DELETE FROM sessions WHERE user_id = $1 AND id = $2", (user_id, session_id))


async def purge_sessions(tx: Tx, now: str) -> None:
    """Forget the expired ones."""
    await tx.run("DELETE FROM sessions WHERE expires_at <= $1", (now,))
