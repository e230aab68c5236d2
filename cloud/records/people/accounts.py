"""Tables users, user_identities and account_events."""

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
    last_seen_at: str | None = None


class AccountEvent(msgspec.Struct, frozen=True):
    """Something that happened to an account."""

    type: str
    detail: str
    address: str
    created_at: str


async def find_user(reader: Reader, email: str) -> str | None:
    """The id of the user with this lower-case address."""
    row = await reader.one("SELECT id FROM users WHERE email = $1", (email,))
    return None if row is None else str(row[0])


async def add_user(tx: Tx, user_id: str, email: str, at: str) -> str:
    """Keep a new user; the id of the one who has the address, should another process have been faster."""
    await tx.run(
        "INSERT INTO users (id, email, created_at) VALUES ($1, $2, $3) ON CONFLICT (email) DO NOTHING",
        (user_id, email, at),
    )
    return await find_user(tx, email) or user_id


async def set_profile(tx: Tx, user_id: str, name: str | None, picture: str | None) -> None:
    """As an issuer tells it; what it does not tell stays."""
    await tx.run(
        "UPDATE users SET name = coalesce($1, name), picture = coalesce($2, picture) WHERE id = $3",
        (name, picture, user_id),
    )


async def find_identity(reader: Reader, issuer: str, subject: str) -> str | None:
    """The id of the user who signs in as this subject of that issuer."""
    row = await reader.one("SELECT user_id FROM user_identities WHERE issuer = $1 AND subject = $2", (issuer, subject))
    return None if row is None else str(row[0])


async def has_identity(reader: Reader, user_id: str, issuer: str) -> bool:
    """True when some subject of this issuer is bound to the user."""
    return await reader.one("SELECT 1 FROM user_identities WHERE user_id = $1 AND issuer = $2", (user_id, issuer)) is not None


async def add_identity(tx: Tx, issuer: str, subject: str, user_id: str, at: str) -> None:
    """Bind a subject to a user; nothing happens when it is bound."""
    await tx.run(
        "INSERT INTO user_identities (issuer, subject, user_id, created_at) VALUES ($1, $2, $3, $4)"
        " ON CONFLICT (issuer, subject) DO NOTHING",
        (issuer, subject, user_id, at),
    )


async def add_event(tx: Tx, event_id: str, user_id: str, event: AccountEvent) -> None:
    """Keep what happened."""
    await tx.run(
        "INSERT INTO account_events (id, user_id, type, detail, address, created_at) VALUES ($1, $2, $3, $4, $5, $6)",
        (event_id, user_id, event.type, event.detail, event.address, event.created_at),
    )


async def list_events(reader: Reader, user_id: str, limit: int) -> list[AccountEvent]:
    """The newest first."""
    rows = await reader.rows(
        "SELECT type, detail, address, created_at FROM account_events WHERE user_id = $1 ORDER BY created_at DESC, id DESC LIMIT $2",
        (user_id, limit),
    )
    return [AccountEvent(*row) for row in rows]


async def purge_events(tx: Tx, before: str) -> None:
    """Forget what happened before that time."""
    await tx.run("DELETE FROM account_events WHERE created_at < $1", (before,))
