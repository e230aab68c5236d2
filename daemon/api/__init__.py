"""The local API over the Unix socket: a flat table of thin handlers, one envelope for errors, and only this user may ask."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from daemon.api import account, conflicts, folders, history, operate, states
from daemon.api.shapes import error_fields, json_answer, stream_answer
from store.errors import FastestError, InvalidValue
from store.types import UNREADABLE

if TYPE_CHECKING:
    from daemon.app import Daemon

Handler = Callable[["Daemon", web.Request], Awaitable[Any]]
MAX_BODY_BYTES: Final = 16 * 1024 * 1024
CLOSE_SECONDS: Final = 2.0

ROUTES: Final[tuple[tuple[str, str, Handler], ...]] = (
    ("GET", "/v1/health", states.get_health),
    ("GET", "/v1/status", states.get_status),
    ("POST", "/v1/wait", states.wait_for_state),
    ("GET", "/v1/events", states.stream_events),
    ("GET", "/v1/workspaces", states.list_workspaces),
    ("POST", "/v1/main", account.set_main),
    ("GET", "/v1/machines", account.list_machines),
    ("POST", "/v1/up", folders.bring_up),
    ("POST", "/v1/clone", folders.clone),
    ("POST", "/v1/sync", folders.sync_now),
    ("POST", "/v1/pause", folders.pause),
    ("POST", "/v1/resume", folders.resume),
    ("POST", "/v1/approve", folders.approve),
    ("GET", "/v1/ignore", folders.explain_ignore),
    ("POST", "/v1/snapshot", history.take_snapshot),
    ("GET", "/v1/log", history.list_log),
    ("GET", "/v1/show", history.show_snapshot),
    ("GET", "/v1/history", history.file_history),
    ("GET", "/v1/diff", history.show_diff),
    ("GET", "/v1/cat", history.stream_content),
    ("POST", "/v1/restore", history.restore),
    ("POST", "/v1/undo", history.undo),
    ("GET", "/v1/conflicts", conflicts.list_conflicts),
    ("POST", "/v1/resolve", conflicts.resolve),
    ("POST", "/v1/fsck", operate.check_store),
    ("POST", "/v1/gc", operate.collect_garbage),
    ("GET", "/v1/doctor", operate.examine),
    ("POST", "/v1/down", operate.go_down),
    ("POST", "/v1/login", account.sign_in),
    ("POST", "/v1/logout", account.sign_out),
    ("GET", "/v1/whoami", account.who_am_i),
)


@asynccontextmanager
async def serve_api(daemon: Daemon, socket_path: Path) -> AsyncIterator[None]:
    """Listen while the context is open. The caller holds the daemon's lock, so a socket that is there is a dead one's."""
    app = web.Application(middlewares=[_only_this_user, _envelope], client_max_size=MAX_BODY_BYTES)
    for method, path, handler in ROUTES:
        app.router.add_route(method, path, _bound(daemon, handler))
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=CLOSE_SECONDS)
    await runner.setup()
    await web.SockSite(runner, _bind(socket_path)).start()
    try:
        yield
    finally:
        await runner.cleanup()
        _remove(socket_path)


def _bind(socket_path: Path) -> socket.socket:
    _remove(socket_path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    previous = os.umask(0o177)
    try:
        listener.bind(os.fspath(socket_path))
    finally:
        os.umask(previous)
    return listener


def _remove(socket_path: Path) -> None:
    socket_path.unlink(missing_ok=True)


def _bound(daemon: Daemon, handler: Handler) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def answer(request: web.Request) -> web.StreamResponse:
        result = await handler(daemon, request)
        if isinstance(result, web.StreamResponse):
            return result
        if hasattr(result, "__aiter__"):
            return await stream_answer(request, result)
        return json_answer(result)

    return answer


@web.middleware
async def _only_this_user(request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> web.StreamResponse:
    peer: socket.socket | None = request.transport.get_extra_info("socket") if request.transport is not None else None
    if peer is None or _peer_uid(peer) not in (os.getuid(), 0):
        return json_answer({"error": {"code": "forbidden", "message": "this daemon belongs to another user", "hint": ""}}, status=403)
    return await handler(request)


def _peer_uid(peer: socket.socket) -> int:
    credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    uid: int = struct.unpack("3i", credentials)[1]
    return uid


@web.middleware
async def _envelope(request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> web.StreamResponse:
    try:
        return await handler(request)
    except FastestError as error:
        return json_answer(error_document(error), status=error.http_status)
    except web.HTTPException as error:
        found = InvalidValue(f"{request.method} {request.path}: {error.reason}")
        return json_answer(error_document(found), status=error.status)
    except ConnectionResetError:
        return web.Response()  # who asked has hung up: no mistake of anybody's, and nobody is there to be answered
    except UNREADABLE as error:
        return json_answer(error_document(InvalidValue(f"the request's body cannot be read: {error}")), status=400)


def error_document(error: FastestError) -> dict[str, Any]:
    """An error as every answer carries it."""
    return {"error": error_fields(error)}
