"""Messages between server processes through Redis.

Theory. A process hears the channels of those users that have a listener at it. Publishing is not kept by Redis: a process whose
connection broke, or that could not publish, has lost messages, so it cuts its own listeners off (or asks the others to), and they catch
up by asking. Who is online is a set with times: a process that dies leaves nobody online for longer than HERE_SECONDS.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine
from typing import Any, Final

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from cloud.hub import Telling
from cloud.hub.local import Listener, LocalHub
from store.errors import Busy, Unwritable

log = logging.getLogger(f"fastest.{__name__}")

HERE_SECONDS: Final = 60
ANSWER_SECONDS: Final = 5
AGAIN_SECONDS: Final = 1.0
USER: Final = "fastest:user:"
HERE: Final = "fastest:here:"
SESSIONS: Final = "fastest:sessions"
_encode = msgspec.msgpack.encode
_decoder = msgspec.msgpack.Decoder(Telling)


class RedisHub:
    """`cloud.hub.Hub` for any number of processes."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._local = LocalHub()
        self._heard = redis.pubsub(ignore_subscribe_messages=False)
        self._waiting: dict[str, asyncio.Event] = {}
        """Channels that were asked for and are not confirmed yet."""
        self._channels: set[str] = set()
        self._confirmed: set[str] = set()
        self._listening: asyncio.Task[None] | None = None
        self._is_closed = False

    @classmethod
    async def open(cls, url: str) -> RedisHub:
        """Connect and begin to hear. Raises Unwritable when the address cannot be read."""
        try:
            redis = Redis.from_url(url, socket_timeout=ANSWER_SECONDS, socket_connect_timeout=ANSWER_SECONDS, health_check_interval=15)
        except ValueError as error:
            raise Unwritable("the address of Redis cannot be read", "It looks like redis://host:6379/0.") from error
        hub = cls(redis)
        await hub._ask(hub._heard.subscribe(SESSIONS))
        hub._listening = asyncio.create_task(hub._listen())
        return hub

    async def join(self, listener: Listener) -> None:
        """Returns once the user's channel is heard, or it is known that it cannot be: then nothing is missed that was heard."""
        channel = USER + listener.user_id
        if self._local.add(listener) or channel not in self._channels:
            self._channels.add(channel)
            confirmed = self._waiting.setdefault(channel, asyncio.Event())
            if await self._ask(self._heard.subscribe(channel)):
                try:
                    async with asyncio.timeout(ANSWER_SECONDS):
                        await confirmed.wait()
                except TimeoutError:
                    listener.end()
            else:
                listener.end()
        await self.seen(listener)

    async def leave(self, listener: Listener) -> None:
        """The channel is let go with its last listener."""
        if self._local.remove(listener):
            channel = USER + listener.user_id
            self._channels.discard(channel)
            self._confirmed.discard(channel)
            await self._ask(self._heard.unsubscribe(channel))
        if listener.machine_id and listener.machine_id not in await self._local.online(listener.user_id):
            await self._ask(self._redis.zrem(HERE + listener.user_id, listener.machine_id))

    async def seen(self, listener: Listener) -> None:
        """For HERE_SECONDS."""
        if listener.machine_id:
            key = HERE + listener.user_id
            await self._ask(self._redis.zadd(key, {listener.machine_id: time.time() + HERE_SECONDS}))
            await self._ask(self._redis.expire(key, HERE_SECONDS))

    async def online(self, user_id: str) -> set[str]:
        """At any process."""
        found = await self._local.online(user_id)
        try:
            there: Any = await self._redis.zrangebyscore(HERE + user_id, time.time(), "+inf")
        except (RedisError, OSError):
            return found
        return found | {bytes(machine).decode() for machine in there}

    async def tell(self, user_id: str, telling: Telling) -> None:
        """Through Redis, to oneself too; where that fails, only to one's own."""
        if not await self._ask(self._redis.publish(USER + user_id, _encode(telling))):
            self._local.tell_now(user_id, telling)

    async def end_session(self, session_id: str) -> None:
        """At every process."""
        self._local.end_session_now(session_id)
        await self._ask(self._redis.publish(SESSIONS, session_id))

    def end_all(self) -> None:
        """Of this process."""
        self._local.end_all()

    async def ping(self) -> None:
        """Raises Busy when Redis does not answer."""
        if not await self._ask(self._redis.ping()):
            raise Busy("Redis does not answer")

    async def close(self) -> None:
        """Hear no more."""
        self._is_closed = True
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.wait([self._listening], timeout=ANSWER_SECONDS)
        await self._ask(self._heard.aclose())  # type: ignore[no-untyped-call]
        await self._ask(self._redis.aclose())

    async def _listen(self) -> None:
        """For ever; after every break all listeners of this process are cut off, for something may have been missed."""
        while not self._is_closed:  # a cancellation that comes while the driver connects is taken for a time-out
            try:
                message = await self._heard.get_message(timeout=None)
                if message is not None:
                    self._take(message["type"], message["channel"].decode(), message["data"])
            except (RedisError, OSError) as error:
                log.warning("Redis is not heard", extra={"reason": type(error).__name__})
                self._local.end_all()
                await asyncio.sleep(AGAIN_SECONDS)
                self._confirmed.clear()
                await self._ask(self._heard.subscribe(SESSIONS, *self._channels))

    def _take(self, kind: str, channel: str, data: Any) -> None:
        if kind == "subscribe":
            if channel in self._confirmed:
                # The driver connected anew by itself: what was said meanwhile was not heard.
                self._local.end_all()
            self._confirmed.add(channel)
            if waiting := self._waiting.pop(channel, None):
                waiting.set()
        if kind != "message":
            return
        if channel == SESSIONS:
            self._local.end_session_now(data.decode())
            return
        try:
            self._local.tell_now(channel.removeprefix(USER), _decoder.decode(data))
        except msgspec.DecodeError:
            # Of a newer process: whoever listens here asks.
            self._local.end_all()

    async def _ask(self, request: Coroutine[Any, Any, Any] | Any) -> bool:
        """False when Redis did not take it."""
        try:
            await request
        except (RedisError, OSError) as error:
            log.warning("Redis does not answer", extra={"reason": type(error).__name__})
            return False
        return True
