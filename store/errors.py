"""Every error of Fastest, in four families named for what the caller does next.

Transient: try the same again, later.      Stale: the world moved, look again.
Refused: a person must act.                Corrupt: stop, touch nothing, keep the evidence.

The family decides what the supervisor does, which HTTP status is answered and how it is logged; the class names its stable
`code` and the exit code of `fst`. The message says what happened and to what; `hint` says the next step.
"""

from __future__ import annotations

from typing import ClassVar, Final


class FastestError(Exception):
    """Something that has a family, a stable code, and a sentence for the person."""

    code: ClassVar[str] = "failed"
    http_status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, hint: str = "", **details: object) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = details


class Transient(FastestError):
    """Try the same again, later."""

    code = "transient"
    http_status = 503


class Stale(FastestError):
    """The world moved: look again."""

    code = "stale"
    http_status = 409


class Refused(FastestError):
    """A person must act."""

    code = "refused"
    http_status = 422


class Corrupt(FastestError):
    """Stop, touch nothing, keep the evidence."""

    code = "corrupt"
    http_status = 500


class Offline(Transient):
    """The cloud cannot be reached."""

    code = "offline"


class Busy(Transient):
    """Somebody else holds what is needed (a lock, git's index, a file open for writing)."""

    code = "busy"


class RateLimited(Transient):
    """The server asked to slow down."""

    code = "rate-limited"
    http_status = 429


class DaemonUnreachable(Transient):
    """No daemon answers on the socket."""

    code = "daemon-unreachable"
    exit_code = 3


class TimedOut(Transient):
    """The wait reached its bound."""

    code = "timed-out"
    http_status = 504
    exit_code = 7


class NoSpace(Transient):
    """A disk is full; the work goes on by itself once there is room."""

    code = "no-space"


class Unwritable(Transient):
    """The system refused to read or write this path (permission, read-only, immutable)."""

    code = "unwritable"


class VersionMoved(Stale):
    """The head is not the one that was expected."""

    code = "version-moved"
    exit_code = 8


class FileMoved(Stale):
    """A file is no longer what the plan expected."""

    code = "file-moved"


class InvalidValue(Refused):
    """A value that must not exist: a bad path, digest, id, name, body or setting."""

    code = "invalid-value"
    exit_code = 2


class InvalidJson(Refused):
    """A request body that is not JSON."""

    code = "invalid-json"
    http_status = 400


class HashMismatch(Refused):
    """Sent bytes do not have the digest they were sent under."""

    code = "hash-mismatch"
    http_status = 400


class NotFound(Refused):
    """No such thing, or not yours."""

    code = "not-found"
    http_status = 404


class InvalidOperation(Refused):
    """What is asked makes no sense for this thing: a workspace merged with itself, an undo of nothing."""

    code = "invalid-operation"
    http_status = 400


class NoMainWorkspace(Refused):
    """The project has no main workspace to merge or compare with."""

    code = "no-main-workspace"
    http_status = 400


class MissingDecisions(Refused):
    """A merge is to be done and not everything was decided; `missing` lists the paths."""

    code = "missing-decisions"
    http_status = 400


class PreviewExpired(Refused):
    """No such preview of a merge: it expired, was used, or is not yours."""

    code = "preview-expired"
    http_status = 404


class NotAWorkspace(Refused):
    """The folder belongs to no workspace."""

    code = "not-a-workspace"
    http_status = 404
    exit_code = 9


class NotSignedIn(Refused):
    """The cloud needs a sign-in."""

    code = "not-signed-in"
    http_status = 401
    exit_code = 4


class CodeInvalid(Refused):
    """No machine shows this code, or no such code was mailed."""

    code = "invalid-code"
    http_status = 400


class CodeExpired(Refused):
    """The code has expired."""

    code = "expired-code"
    http_status = 400


class CodeUsed(Refused):
    """The code was approved, denied or used before."""

    code = "already-used"
    http_status = 400


class Conflicting(Refused):
    """It exists already, with other content."""

    code = "conflict"
    http_status = 409


class Archived(Refused):
    """The project or workspace is archived: it can be read, and stays as it is."""

    code = "archived"
    http_status = 409


class ManifestNotFound(Refused):
    """A snapshot names a manifest that is not here, or not whole."""

    code = "manifest-not-found"


class BlobsMissing(Refused):
    """A push names blobs the cloud does not have; `digests` lists them."""

    code = "missing-blobs"


class TooLarge(Refused):
    """Over a written bound of size, depth or count."""

    code = "too-large"
    http_status = 413


class BrakeHeld(Refused):
    """A mass deletion or overwrite waits for `fst approve`."""

    code = "brake-held"
    http_status = 409
    exit_code = 6


class EpochChanged(Refused):
    """The server's epoch is not the one known, or its version went back: it may have been restored from a backup."""

    code = "epoch-changed"
    http_status = 409
    exit_code = 5


class RootLost(Refused):
    """A workspace's root is missing, unmounted, emptied or replaced."""

    code = "root-lost"
    exit_code = 5


class RootRefused(Refused):
    """A folder that must not become a workspace: `/`, the home folder, a nested root, our own state."""

    code = "root-refused"
    exit_code = 2


class NewerStore(Refused):
    """The store was written by a newer Fastest."""

    code = "newer-store"


class OlderStore(Refused):
    """The cloud's database is at an older schema, and this is not the one to bring it up."""

    code = "older-store"


class AlreadyRunning(Refused):
    """Another daemon or cloud holds the lock."""

    code = "already-running"
    http_status = 409


class BlobMissing(Corrupt):
    """A blob or node that something names is not here."""

    code = "blob-missing"


class BlobDamaged(Corrupt):
    """Stored bytes do not have the digest they are kept under."""

    code = "blob-damaged"


class InvalidManifest(Corrupt):
    """Manifest bytes that are not canonical, or not a tree."""

    code = "invalid-manifest"


class StoreDamaged(Corrupt):
    """The database or a segment cannot be read."""

    code = "store-damaged"


class SecretDamaged(Corrupt):
    """A sealed secret does not open: it was changed, belongs elsewhere, or its key is gone."""

    code = "secret-damaged"


class Broken(Corrupt):
    """A mistake of ours stopped a workspace's cycle; the log has it."""

    code = "internal"


class CrashLoop(Corrupt):
    """The daemon crashed again and again right after its start: it only answers now."""

    code = "crash-loop"


class InvalidReply(Corrupt):
    """The other side answered something that is not in the protocol."""

    code = "invalid-reply"


SPOKEN: Final[tuple[type[FastestError], ...]] = (
    Archived, BlobsMissing, Busy, CodeExpired, CodeInvalid, CodeUsed, Conflicting, EpochChanged, HashMismatch, InvalidJson,
    InvalidOperation, InvalidValue, ManifestNotFound, MissingDecisions, NoMainWorkspace, NoSpace, NotFound, NotSignedIn, Offline,
    PreviewExpired, RateLimited, Refused, TimedOut, TooLarge, Unwritable, VersionMoved,
)  # fmt: skip
"""All that the cloud says of a request. Whatever else happens there is its own fault, and it says so: INTERNAL_ERROR."""
_SPELLED: Final = {"not-signed-in": "UNAUTHORIZED", "invalid-value": "VALIDATION_ERROR"}
"""Codes that the cloud's API has had longer than we have had classes."""


def wire_code(code: str) -> str:
    """An error class's code as the cloud's answers spell it."""
    return _SPELLED.get(code, code.replace("-", "_").upper())
