"""Ending sessions: the row goes, and with it the token; then whoever listens with it is cut off."""

from __future__ import annotations

from cloud.accounts.session import note
from cloud.context import Cloud
from cloud.database import Tx
from cloud.records.people import sessions
from cloud.records.people.accounts import Account
from store.errors import NotFound


async def end_one_session(cloud: Cloud, account: Account, session_id: str, address: str) -> None:
    """Raises NotFound for one that is gone, or somebody else's."""

    async def work(tx: Tx) -> None:
        if not await sessions.remove_session(tx, account.user_id, session_id):
            raise NotFound("no such session")
        await note(tx, account.user_id, "session.revoked", cloud.now_ms(), address=address)

    await cloud.write(work)
    await cloud.hub.end_session(session_id)


async def end_all_sessions(cloud: Cloud, account: Account, address: str) -> int:
    """All of the account, the one that asks too; how many."""

    async def work(tx: Tx) -> list[str]:
        found = [each.id for each in await sessions.list_sessions(tx, account.user_id, cloud.now())]
        for session_id in found:
            await sessions.remove_session(tx, account.user_id, session_id)
        await note(tx, account.user_id, "session.revoked", cloud.now_ms(), "all", address)
        return found

    ended = await cloud.write(work)
    for session_id in ended:
        await cloud.hub.end_session(session_id)
    return len(ended)
