"""A real daemon whose cloud lies: it lives, says so, touches nothing it must not, and comes home when the cloud is honest again.

A few lies stand for all in `make test`; LIES=all tells every one. What each parser makes of what it is told is
`tests/property/test_foreign_bytes.py`; what the engine makes of it is `test_engine_lied_to.py`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from store.blobs.frames import encode_frame
from store.manifest import EntryRecord, record_of
from store.manifest.node import encode_leaf
from store.snapshots import make_snapshot
from store.types import Digest, File, RelPath, digest_of, new_ulid
from sync.adopt import wire_snapshot
from sync.core.wire import EventHeader, Head, Section, WireConflict, pack_section, split_sections
from tests.hostile.lying_cloud import Lie, LyingCloud
from tests.hostile.thorough import ALL, only_among_all
from tests.lab.cloud import Cloud
from tests.lab.compare import digests_in
from tests.lab.fixtures import open_lab
from tests.lab.machine import Machine
from tests.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

RSS_BYTES = 400 * 1024 * 1024
GIB = 1 << 30
STEER = "\x1b[2J\x1b]0;owned\x07\x9b31m\u202e"


class Scene:
    """`victim` sees the cloud through a liar, in two workspaces; `other` sees it as it is."""

    def __init__(self, cloud: Cloud, victim: Machine, other: Machine, liar: LyingCloud) -> None:
        self.cloud, self.victim, self.other, self.liar = cloud, victim, other, liar
        self.beside = victim.folder / "beside"
        self.workspace_id = victim.status()["id"]
        self.count = 0
        self.around = self.surroundings()

    def surroundings(self) -> dict[str, str]:
        """Everything on the machine that is neither in a workspace nor our own."""
        kept = {path: digest for path, digest in digests_in(self.victim.folder).items() if path.startswith(("user/", "outside"))}
        return kept | dict.fromkeys((path.name for path in self.victim.folder.iterdir()), "")

    def news(self) -> str:
        """A change that the victim would have to hear of."""
        self.count += 1
        name = f"news-{self.count}.txt"
        (self.other.root / name).write_text(f"{self.count}\n" * 100)
        self.other.wait_uploaded()
        return name

    def news_that_must_be_asked_for(self) -> str:
        """Else an event brings it, contents and all, and nobody asks the liar."""
        self.victim.must("pause")
        name = self.news()
        self.victim.must("resume")
        return name

    def halt(self) -> dict[str, Any]:
        """Why it stands still; or, while it goes on trying, what keeps going wrong."""
        status = self.victim.status()
        found: dict[str, Any] = status.get("halt") or next((one for one in status["problems"] if one["path"] == "."), {})
        return found

    def goes_on_beside(self) -> None:
        """The other workspace of the same daemon is kept and sent."""
        self.count += 1
        (self.beside / "own.txt").write_text(f"beside {self.count}\n")
        self.victim.must("wait", "--uploaded", "--timeout", "30", cwd=self.beside)

    def peak_bytes(self) -> int:
        pid = self.victim.report()["daemon"]["pid"]
        return int(Path(f"/proc/{pid}/status").read_text().partition("VmHWM:")[2].split()[0]) * 1024


@pytest.fixture(scope="module")
def scene(request: pytest.FixtureRequest) -> Iterator[Scene]:
    for lab in open_lab(request):
        cloud, victim, other = Cloud(lab), Machine(lab, "a"), Machine(lab, "b")
        cloud.start()
        token = cloud.token()
        liar = LyingCloud(cloud.url)
        liar.start()
        victim.root.mkdir()
        for number in range(80):
            (victim.root / f"{number}.txt").write_text(f"{number}\n")
        (victim.folder / "beside").mkdir()
        (victim.folder / "outside.txt").write_text("not yours\n")
        for machine, url in ((victim, liar.url), (other, cloud.url)):
            machine.start()
            machine.login(url, token)
        victim.up("thing")
        victim.must("up", str(victim.folder / "beside"), "--project", "beside", "-y")
        victim.wait_uploaded()
        other.mirror("thing")
        other.wait_settled()
        try:
            yield Scene(cloud, victim, other, liar)
        finally:
            liar.stop()


# --- what it may be told ----------------------------------------------------------------------------------------------------------


def headed(**lies: Any) -> Callable[[bytes], bytes]:
    """The same answer with another head."""

    def say(honest: bytes) -> bytes:
        (_, first), *rest = split_sections(honest)
        document = json.loads(first)
        document["head"] |= lies
        return b"".join(pack_section(kind, data) for kind, data in [(Section.HEADER, json.dumps(document).encode()), *rest])

    return say


def told(**fields: Any) -> Callable[[bytes], bytes]:
    """The same answer with other fields beside the head."""

    def say(honest: bytes) -> bytes:
        (_, first), *rest = split_sections(honest)
        made = {name: value(json.loads(first)["head"]) if callable(value) else value for name, value in fields.items()}
        document = json.loads(first) | made
        return b"".join(pack_section(kind, data) for kind, data in [(Section.HEADER, msgspec.json.encode(document)), *rest])

    return say


def escaping(path: str) -> Callable[[dict[str, Any]], list[WireConflict]]:
    file = File(digest_of(b"0\n"), 2)

    def make(head: dict[str, Any]) -> list[WireConflict]:
        side = msgspec.structs.replace(record_of(RelPath(b"x"), file), path=path)
        record = EntryRecord(path=path, type="none")
        return [WireConflict(new_ulid(7), head["workspace_id"], record, "edit-edit", None, side, side, "open", 1_700_000_000_000)]

    return make


def endless(piece: bytes, begin: bytes = b"") -> Callable[[bytes], Iterable[bytes]]:
    def say(_: bytes) -> Iterator[bytes]:
        yield begin
        for _number in range(GIB // len(piece)):
            yield piece

    return say


def nodes_without_end(_: bytes) -> Iterator[bytes]:
    for number in range(1_000_000):
        data = encode_leaf([EntryRecord(path=f"{number:0200d}", type="dir")])
        yield pack_section(Section.FRAME, encode_frame([(digest_of(data), data)]))


def bombs(_: bytes) -> Iterator[bytes]:
    for number in range(2_000):
        data = number.to_bytes(8) + bytes(4 * 1024 * 1024 - 8)
        yield pack_section(Section.FRAME, encode_frame([(digest_of(data), data)]))


def by_nodes(honest: bytes) -> bytes:
    """The same head without a delta: its nodes are to be asked for."""
    document = json.loads(next(split_sections(honest))[1]) | {"parent_root": None, "sections": 0, "head": None}
    document["head"] = json.loads(next(split_sections(honest))[1])["head"] | {"root": digest_of(b"no such tree").hex()}
    return pack_section(Section.HEADER, json.dumps(document).encode())


def unknown_contents(honest: bytes) -> bytes:
    return pack_section(Section.FRAME, encode_frame([(digest_of(b"other"), b"other")]))


CATCH_UP, FETCH = r"GET /v1/workspaces/{id}/versions", r"POST /v1/blobs/fetch"
INVALID, RESTORED = "invalid-reply", "epoch-changed"
LIES: dict[str, tuple[Lie, str]] = {
    "contents that are others": (Lie(FETCH, unknown_contents), INVALID),
    "a record that escapes": (Lie(CATCH_UP, told(conflicts=escaping("../outside.txt"))), INVALID),
}
MORE_LIES: dict[str, tuple[Lie, str]] = {
    "an answer without end": (Lie(CATCH_UP, endless(bytes(1 << 20))), INVALID),
    "a head that went back": (Lie(CATCH_UP, headed(version=1)), RESTORED),
    "a delta without end": (Lie(CATCH_UP, endless(pack_section(Section.DELTA, bytes(1 << 20)), b"")), INVALID),
    "bombs": (Lie(FETCH, bombs), INVALID),
    "nested without end": (Lie(CATCH_UP, lambda _: pack_section(Section.HEADER, b'{"type":' + b"[" * 1_000_000)), INVALID),
    "another workspace's head": (Lie(CATCH_UP, headed(workspace_id=new_ulid(5))), INVALID),
    "another epoch": (Lie(CATCH_UP, headed(epoch="another")), RESTORED),
    "another root": (Lie(CATCH_UP, headed(root="00" * 32)), INVALID),
    "a root that is none": (Lie(CATCH_UP, headed(root="../x")), INVALID),
    "a version beyond all": (Lie(CATCH_UP, headed(version=1 << 63)), INVALID),
    "no head": (Lie(CATCH_UP, told(head=None)), INVALID),
    "a record of an absolute path": (Lie(CATCH_UP, told(conflicts=escaping("/etc/fst-owned"))), INVALID),
    "a record of git's": (Lie(CATCH_UP, told(conflicts=escaping(".git/hooks/post-commit"))), INVALID),
    "a page": (Lie(CATCH_UP, lambda _: b"<html>Sign in to the hotel's network</html>"), INVALID),
    "nothing": (Lie(CATCH_UP, lambda _: b""), INVALID),
    "zeros": (Lie(FETCH, endless(bytes(1 << 20))), INVALID),
    "frames of nothing": (Lie(FETCH, endless(pack_section(Section.FRAME, encode_frame([])))), INVALID),
    "no contents": (Lie(FETCH, lambda _: b""), INVALID),
    "elsewhere": (Lie(CATCH_UP, lambda _: b"", 302), "offline"),
    "a refusal of another's": (Lie(CATCH_UP, lambda _: b'{"error":{"code":"ROOT_LOST","message":"gone"}}', 409), "refused"),
}
TOLD = LIES | (MORE_LIES if ALL else {})


@pytest.mark.parametrize("what", TOLD)
def test_a_lie_touches_nothing_and_is_told(scene: Scene, what: str) -> None:
    lie, code = TOLD[what]
    before = digests_in(scene.victim.root)
    scene.liar.tell(lie._replace(route=lie.route.replace("{id}", scene.workspace_id)))
    name = scene.news_that_must_be_asked_for()
    wait_until(lambda: scene.halt().get("code") == code, 60, f"the victim says {code}: {scene.victim.status()}")
    halt = scene.halt()
    assert scene.liar.told and len(halt["message"].split()) >= 4
    assert digests_in(scene.victim.root) == before and scene.surroundings() == scene.around
    # What is edited meanwhile is kept: the lie is the cloud's, not this folder's.
    (scene.victim.root / "meanwhile.txt").write_text(f"during {what}\n")
    wait_until(lambda: scene.victim.has_content(digest_of(f"during {what}\n".encode()).hex()), 30, "an edit is kept meanwhile")
    scene.goes_on_beside()
    assert scene.peak_bytes() < RSS_BYTES
    assert scene.liar.sent_bytes < 256 * 1024 * 1024
    scene.liar.tell(None)
    scene.victim.must("sync")
    scene.victim.wait_uploaded()
    wait_until(lambda: digests_in(scene.victim.root) == digests_in(scene.other.root), 30, "the two agree")
    assert (scene.victim.root / name).exists() and scene.surroundings() == scene.around


@only_among_all
def test_nodes_without_end(scene: Scene) -> None:
    """The second lie of two: the delta is kept back, so that the nodes are asked for."""
    before = digests_in(scene.victim.root)
    asked: list[str] = []

    def say(honest: bytes) -> bytes | Iterable[bytes]:
        asked.append("")
        return by_nodes(honest) if len(asked) % 2 else nodes_without_end(honest)

    scene.liar.tell(Lie(f"GET /v1/workspaces/{scene.workspace_id}/versions|POST /v1/manifests/nodes", say))
    scene.news_that_must_be_asked_for()
    wait_until(lambda: scene.halt(), 60, "it halts")
    assert digests_in(scene.victim.root) == before and scene.peak_bytes() < RSS_BYTES
    scene.liar.tell(None)
    scene.victim.must("sync")
    scene.victim.wait_uploaded()


@only_among_all
def test_it_comes_home_by_itself(scene: Scene) -> None:
    scene.liar.tell(LIES["contents that are others"][0])
    name = scene.news_that_must_be_asked_for()
    wait_until(lambda: scene.halt().get("code") == INVALID, 60, "it says so")
    scene.liar.tell(None)
    wait_until((scene.victim.root / name).exists, 60, "nobody has to come and resume it")


@only_among_all
def test_what_is_shouted_at_it(scene: Scene) -> None:
    head = Head(scene.workspace_id, "epoch", 1 << 40, "00" * 32)
    header = msgspec.json.encode(EventHeader("version", head, "00" * 32, 1))
    for message in (
        b"\xff" * 1000,
        b"",
        pack_section(Section.HEADER, b"[" * 100_000),
        pack_section(Section.HEADER, header),
        bytes(3 << 20),
    ):
        scene.liar.shout(message)
        assert scene.victim.report()["daemon"]["pid"]
        wait_until(lambda: scene.victim.report()["daemon"]["cloud"] == "connected", 60, "it listens again")
    name = scene.news()
    wait_until((scene.victim.root / name).exists, 60, "it still follows")
    assert scene.surroundings() == scene.around


def test_names_and_texts_that_steer_a_terminal(scene: Scene) -> None:
    """All of it legal: only the screen has to be careful."""

    def snapshots(head: dict[str, Any]) -> list[Any]:
        made = make_snapshot(
            project_id=new_ulid(3), workspace_id=head["workspace_id"], manifest_hash=Digest(b"\1" * 32), parents=(), source="cli",
            message=f"{STEER}\nfst: all is well", author_name=STEER, author_email=STEER, agent=STEER, created_ms=1_700_000_000_000,
        )  # fmt: skip
        return [wire_snapshot(made)]

    scene.victim.must("pause")
    name = scene.news()
    (scene.other.root / f"{STEER}.txt").write_text("a name\n")
    scene.other.wait_uploaded()
    scene.liar.tell(Lie(CATCH_UP.replace("{id}", scene.workspace_id), told(snapshots=snapshots)))
    scene.victim.must("resume")
    wait_until((scene.victim.root / name).exists, 60, "it is taken")
    scene.liar.tell(None)
    for words in (("status",), ("status", "--json"), ("log",), ("log", "--json"), ("log", "--graph"), ("diff", "--names"), ("conflicts",)):
        done = scene.victim.fst(*words)
        steering = {letter for letter in done.text + done.err if not letter.isprintable() and letter not in "\n\t"}
        assert not steering, f"{words}: {steering}"
        assert "Traceback" not in done.err
    assert "\\x1b" in scene.victim.must("log").text
