"""GET /v1/events: one WebSocket a machine. Messages down are sections; beats up are JSON text."""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec
from aiohttp import WSCloseCode, WSMessage, WSMsgType, web

from cloud.accounts.session import use_ticket, who_is
from cloud.context import Cloud
from cloud.database import Tx
from cloud.hub.local import Listener
from cloud.records.people.accounts import Account
from cloud.records.people.sessions import is_live, touch_session
from cloud.records.work import replicas, workspaces
from cloud.routes.declare import get
from cloud.routes.envelope import cloud_of, for_everybody
from cloud.routes.work.replicas import tell_machines
from store.types import UNREADABLE
from sync.core.wire import HEARTBEAT_SECONDS, Beat

MAX_BEAT_BYTES: Final = 256 * 1024
MAX_LISTED: Final = 1_000
SEND_SECONDS: Final = 30
NOTED_MS: Final = 60_000


class Listening(msgspec.Struct, frozen=True):
    """Who listens, and what lets them in where no header can."""

    machine_id: str = ""
    ticket: str | None = None


@for_everybody
async def listen(request: web.Request, query: Listening) -> web.WebSocketResponse:
    """Hear of every workspace that the machine `machine_id` holds a replica of; without one, of all. A session, or a ticket."""
    cloud = cloud_of(request)
    if query.ticket is not None:
        account = await cloud.write(use_ticket(query.ticket, cloud.now_ms()))
    else:
        account = await who_is(cloud.read(), request.headers.get("Authorization", ""), cloud.now_ms())
    machine_id = query.machine_id
    if machine_id:
        await replicas.get_machine(cloud.read(), account.user_id, machine_id)
    listener = Listener(account.user_id, account.session_id, machine_id)
    socket = web.WebSocketResponse(heartbeat=HEARTBEAT_SECONDS, max_msg_size=MAX_BEAT_BYTES, compress=False)
    # Before the handshake is answered: what happens after it is heard, so whoever asks for the head then misses nothing.
    await cloud.hub.join(listener)
    try:
        await socket.prepare(request)
        await _seen(cloud, account, machine_id, Beat())
        await tell_machines(cloud, account.user_id)
        with cloud.metrics.streaming():
            await _serve(cloud, account, listener, socket)
    finally:
        await cloud.hub.leave(listener)
        await tell_machines(cloud, account.user_id)
    return socket


async def _serve(cloud: Cloud, account: Account, listener: Listener, socket: web.WebSocketResponse) -> None:
    sending = asyncio.create_task(_send(listener, socket))
    noted, noted_ms = Beat(), cloud.now_ms()
    try:
        async for message in socket:
            beat = _beat_in(message)
            if beat is None:
                await socket.close(code=WSCloseCode.POLICY_VIOLATION, message=b"only beats are understood")
                break
            if not await is_live(cloud.read(), account.session_id, cloud.now()):
                break
            # An open stream tells by itself who is there: of beats that say the same, one a minute is written down.
            if beat != noted or cloud.now_ms() - noted_ms >= NOTED_MS:
                await _seen(cloud, account, listener.machine_id, beat)
                noted, noted_ms = beat, cloud.now_ms()
            await cloud.hub.seen(listener)
    finally:
        listener.end()
        await sending


async def _send(listener: Listener, socket: web.WebSocketResponse) -> None:
    try:
        while (message := await listener.take()) is not None:
            async with asyncio.timeout(SEND_SECONDS):
                await socket.send_bytes(message)
    except (ConnectionError, TimeoutError):
        listener.end()
    # Cut off: too slow, signed out, or the cloud goes down. All three mean: connect again, and ask what was missed.
    await socket.close(code=WSCloseCode.TRY_AGAIN_LATER)


def _beat_in(message: WSMessage) -> Beat | None:
    if message.type is not WSMsgType.TEXT:
        return None
    try:
        beat = msgspec.json.decode(message.data, type=Beat)
    except (*UNREADABLE, UnicodeEncodeError):
        return None
    listed = max(len(beat.workspaces), len(beat.replicas))
    return beat if beat.type == "beat" and listed <= MAX_LISTED else None


async def _seen(cloud: Cloud, account: Account, machine_id: str, beat: Beat) -> None:
    at = cloud.now()

    async def work(tx: Tx) -> None:
        await touch_session(tx, account.session_id, at)
        if machine_id:
            await replicas.touch_machine(tx, account.user_id, machine_id, at)
        await workspaces.touch_workspaces(tx, account.user_id, beat.workspaces, at)
        for replica in beat.replicas:
            await replicas.set_agreed(tx, account.user_id, replica, at)

    await cloud.write(work)


ROUTES = [get("/v1/events", listen, statuses=(101,), needs="a session, or a ticket")]
