"""The shortest way through: one edit pushed, heard of, caught up with, fetched."""

from __future__ import annotations

from pathlib import Path

from store.manifest import check_node
from store.types import digest_of, parse_digest
from tests.clouds import EMPTY, in_loop, next_message, serving


@in_loop
async def test_an_edit_crosses_over(tmp_path: Path) -> None:
    async with serving(tmp_path / "cloud") as served:
        ada = served.user()
        line = await ada.line()
        other = await ada.machine("desk")
        workspace = (await ada.get(f"/v1/workspaces/{line.workspace_id}"))["workspace"]
        assert (workspace["version"], workspace["root"]) == (1, EMPTY)
        async with ada.listening() as socket:
            reply = await line.push({"a.txt": b"one"}, message="first")
            assert reply.status == 200 and line.head.version == 2
            heard = await next_message(socket)
        assert heard.header.head == line.head
        assert heard.header.parent_root == EMPTY
        assert heard.delta == line.delta({"a.txt": b"one"})
        assert heard.contents == {digest_of(b"one"): b"one"}
        assert [each.message for each in heard.header.snapshots] == ["first"]
        caught = await ada.catch_up(line.workspace_id, 1, EMPTY)
        assert caught.header.head == line.head and caught.delta == heard.delta
        assert caught.header.snapshots == heard.header.snapshots
        _, blobs = await ada.fetch("/v1/blobs/fetch", [digest_of(b"one")])
        assert blobs == {digest_of(b"one"): b"one"}
        root = parse_digest(line.head.root)
        _, nodes = await ada.fetch("/v1/manifests/nodes", [root])
        check_node(root, nodes[root])
        assert other in {each["id"] for each in (await ada.get("/v1/machines"))["machines"]}
