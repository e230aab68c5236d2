"""Two workspaces of one project, main and a fork of it, that drift apart and are merged over HTTP."""

from __future__ import annotations

from typing import Any

import msgspec

from store.manifest import walk_manifest
from store.types import Digest, Dir, File, Link, digest_of, parse_digest, show_path
from sync.core.wire import WireWorkspace
from tests.clouds import Caller, Edits, Line, Reply

TEXT = b"one\ntwo\nthree\nfour\nfive\n"


def script(data: bytes) -> File:
    return File(digest_of(data), len(data), True)


class Pair:
    """Main and its fork; each Line pushes what its folder would."""

    def __init__(self, caller: Caller, main: Line, fork: Line) -> None:
        self.caller = caller
        self.main = main
        self.fork = fork

    async def apart(self, main: Edits, fork: Edits) -> None:
        """Each side's edits, pushed."""
        for line, edits in ((self.main, main), (self.fork, fork)):
            if edits:
                reply = await line.push(edits)
                assert reply.status == 200, reply

    async def prepare(self, line: Line | None = None, **body: object) -> dict[str, Any]:
        line = line or self.fork
        preview: dict[str, Any] = (await self.caller.post(f"/v1/workspaces/{line.workspace_id}/sync/prepare", body))["preview"]
        return preview

    async def execute(self, preview: dict[str, Any], decisions: object = None, **body: object) -> Reply:
        path = f"/v1/workspaces/{preview['workspace_id']}/sync/execute"
        return await self.caller.ask("POST", path, {"preview_id": preview["id"], "decisions": decisions or {}, **body})

    async def merge(self, decisions: object = None, line: Line | None = None, **body: object) -> dict[str, Any]:
        """Prepared, done, and followed by the fork (or the line that is merged into)."""
        reply = await self.execute(await self.prepare(line, **body), decisions)
        assert reply.status == 200, reply
        await self.follow()
        answer: dict[str, Any] = reply.json
        return answer

    async def undo(self, line: Line | None = None, **body: object) -> Reply:
        reply = await self.caller.ask("POST", f"/v1/workspaces/{(line or self.fork).workspace_id}/sync/undo", body)
        await self.follow()
        return reply

    async def follow(self) -> None:
        await self.main.follow()
        await self.fork.follow()

    async def shown(self, line: Line | None = None) -> dict[str, str]:
        """What a head holds, each content fetched and checked, as short text."""
        return await show_head(line or self.fork)


async def show_head(line: Line) -> dict[str, str]:
    entries = dict(walk_manifest(parse_digest(line.head.root), line.nodes))
    wanted = sorted({entry.digest for entry in entries.values() if isinstance(entry, File)})
    found: dict[Digest, bytes] = {}
    if wanted:
        reply, found = await line.caller.fetch("/v1/blobs/fetch", wanted)
        assert reply.status == 200, reply
    shown = {}
    for path, entry in entries.items():
        if isinstance(entry, File):
            assert entry.size == len(found[entry.digest])
            shown[show_path(path)] = found[entry.digest].decode("latin-1") + ("*" if entry.executable else "")
        else:
            shown[show_path(path)] = "/" if isinstance(entry, Dir) else f"-> {entry.target.decode()}" if isinstance(entry, Link) else "?"
    return shown


async def fork_of(main: Line, name: str = "work") -> Line:
    body = {"name": name, "base_workspace_id": main.workspace_id}
    made = (await main.caller.post(f"/v1/projects/{main.project_id}/workspaces", body))["workspace"]
    fork = await main.caller.mirror(msgspec.convert(made, WireWorkspace))
    fork.nodes = main.nodes
    await main.follow()
    return fork


async def pair_of(caller: Caller, base: Edits) -> Pair:
    """A main with this state, and its fork."""
    main = await caller.line()
    reply = await main.push(base, message="base")
    assert reply.status == 200, reply
    return Pair(caller, main, await fork_of(main))
