"""The daemon's local API as plain methods, over its Unix socket: for the command line, the tray and editors' tests.

Nothing heavy is imported here, not even `typing` or the errors: every `fst status` pays for it (interfaces.md: 60 ms for the
whole process). A method's docstring names the keys of its answer; keys not named there are passed on as they come.
"""

from __future__ import annotations

import binascii

from daemon.client.exchange import Event, error_of, invalid_reply, parse_document, query_text, read_events, send
from daemon.client.place import find_socket, path_field, path_fields, state_folder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from daemon.client.exchange import Document, Reply

__all__ = ["Client", "Event", "error_of", "find_socket", "path_field", "path_fields", "state_folder"]

ANSWER_SECONDS = 60.0
STREAM_IDLE_SECONDS = 600.0
HEALTH_SECONDS = 5.0


class Client:
    """The daemon behind one socket. Every method raises DaemonUnreachable, InvalidReply, and what the daemon answers.

    A `path` says which workspace is meant: its root or anything below it.
    """

    def __init__(self, socket_path: str, name: str = "fst") -> None:
        self._socket_path = socket_path
        self._name = name

    # -- how it is asked

    def get(self, route: str, query: Mapping[str, str] | None = None, *, seconds: float = ANSWER_SECONDS) -> Document:
        """`GET /v1/<route>`."""
        with self._send("GET", route + query_text(query or {}), None, seconds) as reply:
            return reply.document()

    def post(self, route: str, body: Document | None = None, *, seconds: float | None = ANSWER_SECONDS) -> Document:
        """`POST /v1/<route>`."""
        with self._send("POST", route, body or {}, seconds) as reply:
            return reply.document()

    def stream(self, route: str, body: Document) -> Iterator[Document]:
        """A long work: `{"progress": {phase, done, total, unit}}` any number of times, last `{"result": ...}`."""
        with self._send("POST", route, body, STREAM_IDLE_SECONDS) as reply:
            if reply.status >= 400:
                reply.document()
            for line in reply.lines():
                told = parse_document(line)
                if "error" in told:
                    raise error_of(told["error"])
                yield told
                if "result" in told:
                    return
        invalid_reply("the daemon stopped before it was done")

    def _send(self, method: str, route: str, body: Document | None, seconds: float | None) -> Reply:
        return send(self._socket_path, method, f"/v1/{route}", body, name=self._name, seconds=seconds)

    # -- the daemon itself

    def health(self) -> Document:
        """Whether it answers: {status, pid}."""
        return self.get("health", seconds=HEALTH_SECONDS)

    def down(self) -> Document:
        """Stop it."""
        return self.post("down")

    def doctor(self) -> Document:
        """What could be wrong: {checks: [{name, status: ok|warn|fail, message, fix}]}."""
        return self.get("doctor")

    def fsck(self, *, repair: bool, cloud: bool) -> Iterator[Document]:
        """Re-read everything kept; result {clean, blobs, repaired, sent, joined, database, problems: [sentence]}."""
        return self.stream("fsck", {"repair": repair, "cloud": cloud})

    def gc(self, *, dry_run: bool) -> Iterator[Document]:
        """Let go of what nothing names any more; result {blobs, nodes, bytes}."""
        return self.stream("gc", {"dry_run": dry_run})

    def events(self) -> Iterator[Event]:
        """Server-sent events until the daemon goes: a `status` with the document of `status` whenever that changed."""
        with self._send("GET", "events", None, None) as reply:
            if reply.status >= 400:
                reply.document()
            yield from read_events(reply.lines())

    # -- what is going on

    def status(self, path: str | None = None) -> Document:
        """The document of interfaces.md, for all workspaces or for the one of `path` (NotAWorkspace)."""
        return self.get("status", None if path is None else path_field(path))

    def wait(self, path: str, until: str, *, machine: str | None, timeout_s: float | None) -> Iterator[Document]:
        """Block until `settled`, `uploaded`, or `on` that machine; result {waited_for}. Raises TimedOut."""
        return self.stream("wait", {**path_field(path), "for": until, "machine": machine, "timeout_s": timeout_s})

    def workspaces(self) -> Document:
        """{workspaces: [{id, name, project, project_id, path, version, main}]}; `path` is null when not here."""
        return self.get("workspaces")

    def set_main(self, workspace: str) -> Document:
        """{project, workspace, workspace_id}: the project's main one from now on. `workspace` is PROJECT/WORKSPACE."""
        return self.post("main", {"workspace": workspace})

    def machines(self) -> Document:
        """{machines: [{id, name, platform, last_seen_at, online, this}]}."""
        return self.get("machines")

    # -- making workspaces

    def up(self, path: str, *, project: str | None, name: str | None, dry_run: bool) -> Iterator[Document]:
        """Make a folder a workspace.

        Result {workspace, workspace_id, project, path, replica, created, files, bytes, snapshot, undo, ignored (how many),
        held_back: [{path, reason}], large: [{path, files, line}], cloud}.
        """
        return self.stream("up", {**path_field(path), "project": project, "name": name, "dry_run": dry_run})

    def clone(self, project: str, workspace: str | None, path: str, *, mirror: bool, dry_run: bool) -> Iterator[Document]:
        """Bring a workspace here; result as of `up`."""
        return self.stream("clone", {**path_field(path), "project": project, "workspace": workspace, "mirror": mirror, "dry_run": dry_run})

    # -- history

    def snapshot(self, path: str, *, message: str, author_name: str, author_email: str, agent: str, dry_run: bool) -> Document:
        """{snapshot, created, undo}."""
        said = {"message": message, "author_name": author_name, "author_email": author_email, "agent": agent}
        return self.post("snapshot", {**path_field(path), **said, "dry_run": dry_run})

    def log(self, path: str, limit: int) -> Document:
        """Newest first.

        {snapshots: [{id, time_ms, source, message, author_name, parents, manifest, files, added, modified, removed, current}]}
        """
        return self.get("log", {**path_field(path), "limit": str(limit)})

    def show(self, path: str, snapshot: str) -> Document:
        """{snapshot: {as in `log`}, changes: [{path, path_b64?, kind: added|modified|removed|type, old, new}]}."""
        return self.get("show", {**path_field(path), "id": snapshot})

    def history(self, path: str, file: str) -> Document:
        """One file through time: {history: [{time_ms, snapshot, version, sequence, digest, size, actor}]}, newest first."""
        return self.get("history", {**path_field(path), **path_field(file, "file")})

    def diff(self, path: str, a: str | None, b: str | None) -> Document:
        """{changes: [{path, kind, old, new, text?}]}: `text` is a unified diff; `a` defaults to the last snapshot, `b` to now."""
        chosen = {key: value for key, value in (("a", a), ("b", b)) if value is not None}
        return self.get("diff", {**path_field(path), **chosen})

    def cat(self, path: str, what: str) -> Iterator[bytes]:
        """The bytes of `DIGEST` or `ID:PATH`. Raises NotFound."""
        with self._send("GET", "cat" + query_text({**path_field(path), "what": what}), None, ANSWER_SECONDS) as reply:
            if reply.status >= 400:
                reply.document()
            yield from reply.pieces()

    def restore(self, path: str, source: str | None, paths: Sequence[str], *, dry_run: bool) -> Document:
        """Bring back files (all, when `paths` is empty) from a snapshot: {changed, from, act, undo}."""
        return self.post("restore", {**path_field(path), "from": source, **path_fields(paths), "dry_run": dry_run})

    def undo(self, path: str, *, dry_run: bool) -> Document:
        """Take back the last act: {changed, verb, act, undo}."""
        return self.post("undo", {**path_field(path), "dry_run": dry_run})

    # -- conflicts and the brake

    def conflicts(self, path: str) -> Document:
        """{conflicts: [{id, path, kind, base, ours, theirs, created_ms, state}]}: a side is {type, hash, size, ...}, or null."""
        return self.get("conflicts", path_field(path))

    def resolve(self, path: str, paths: Sequence[str], how: str, *, text: bytes | None = None, dry_run: bool) -> Document:
        """Settle by `ours`, `theirs`, `both` or `edit` (with the edited text): {resolved: [as in `conflicts`], undo, act}."""
        edited = None if text is None else binascii.b2a_base64(text, newline=False).decode("ascii")
        return self.post("resolve", {**path_field(path), **path_fields(paths), "how": how, "text": edited, "dry_run": dry_run})

    def approve(self, path: str, *, dry_run: bool) -> Iterator[Document]:
        """Let through what the brake holds; result {approved: code, message, undo}."""
        return self.stream("approve", {**path_field(path), "dry_run": dry_run})

    # -- transfer

    def pause(self, path: str | None, for_s: float | None, *, dry_run: bool) -> Document:
        """{workspaces: [ids], undo}; no path: every workspace."""
        return self.post("pause", {**({} if path is None else path_field(path)), "for_s": for_s, "dry_run": dry_run})

    def resume(self, path: str | None, *, dry_run: bool) -> Document:
        """{workspaces: [ids], undo}; no path: every workspace."""
        return self.post("resume", {**({} if path is None else path_field(path)), "dry_run": dry_run})

    def sync(self, path: str, *, rescan: bool) -> Iterator[Document]:
        """Reconcile now and wait for it; result {version, settled, uploaded}."""
        return self.stream("sync", {**path_field(path), "rescan": rescan})

    def explain_ignore(self, path: str, file: str) -> Document:
        """{path, ignored, rule, travels, carried}."""
        return self.get("ignore", {**path_field(path), **path_field(file, "file")})

    # -- the account

    def login(self, url: str, token: str) -> Document:
        """{user: {email}, cloud, kept_in: keyring|file}. The token is tried before it is kept."""
        return self.post("login", {"url": url, "token": token})

    def logout(self) -> Document:
        """{revoked}. Files and local history stay."""
        return self.post("logout")

    def whoami(self) -> Document:
        """{user: {email}, cloud, machine}. Raises NotSignedIn."""
        return self.get("whoami")
