"""Where the cloud keeps bytes: blobs and manifest nodes, without knowing whose they are (records/blobs.py knows).

Small blobs and nodes are kept in the very transaction that names them; whatever comes in frames, recipes or files is durable before a
row says that somebody owns it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from cloud.database import Tx
from store.blobs import Recipe
from store.manifest import NodeSource
from store.types import Digest

T = TypeVar("T")


class Sweep(Protocol):
    """What nobody owns, as a plan: how many blobs and nodes would go, and the bytes of those blobs."""

    @property
    def blobs(self) -> int:
        """How many blobs."""
        ...

    @property
    def nodes(self) -> int:
        """How many nodes."""
        ...

    @property
    def bytes(self) -> int:
        """How large those blobs are."""
        ...

    async def execute(self) -> None:
        """Remove it, but for what found an owner since."""
        ...


class Objects(Protocol):
    """All bytes of all users. Every digest is checked before it is kept and after it is read (B2)."""

    async def ready(self, contents: Mapping[Digest, bytes]) -> None:
        """Before the transaction that `put`s these: bring to its place what is too large to go through one."""
        ...

    async def put(self, tx: Tx, contents: Mapping[Digest, bytes], nodes: Mapping[Digest, bytes]) -> None:
        """Keep small blobs and nodes in the caller's transaction. Raises BlobDamaged."""
        ...

    async def put_frames(self, frames: Sequence[bytes]) -> dict[Digest, int]:
        """Keep the blobs in these frames, none a recipe; durable on return. Their sizes. Raises InvalidReply, BlobDamaged."""
        ...

    async def put_recipe(self, recipe: Recipe) -> Recipe:
        """Keep a recipe whose chunks are here; how the blob is put together now. Raises BlobMissing, BlobDamaged."""
        ...

    async def put_file(self, fd: int, size: int) -> tuple[Digest, Recipe | None]:
        """Keep an open file's bytes from their start. Raises FileMoved, TooLarge, Unwritable, NoSpace."""
        ...

    async def frames_for(self, digests: Sequence[Digest]) -> list[bytes]:
        """Frames with exactly these blobs; a chunked one is its recipe's frame. Raises BlobMissing, BlobDamaged."""
        ...

    def stream(self, digest: Digest) -> AsyncGenerator[bytes, None]:
        """A blob's bytes, piece by piece. Raises BlobMissing, BlobDamaged."""
        ...

    async def nodes(self, digests: Sequence[Digest]) -> list[tuple[Digest, bytes]]:
        """Encoded nodes. Raises BlobMissing, BlobDamaged."""
        ...

    async def over_nodes(self, work: Callable[[NodeSource], T], *, brief: bool = False) -> T:
        """Run `work` over all nodes, in a thread unless it is brief. It may run more than once: it touches nothing besides."""
        ...

    async def lacking(self, digests: Sequence[Digest]) -> set[Digest]:
        """Which of these blobs are not here."""
        ...

    async def hold(self, tx: Tx, digests: Collection[Digest]) -> set[Digest]:
        """Which of these blobs are not here. The others stay until this transaction has ended, and it makes somebody own them."""
        ...

    async def plan_sweep(self) -> Sweep:
        """What nobody owns (records/blobs.py)."""
        ...

    async def node_bytes(self, user_id: str) -> int:
        """How much room the nodes of a user take up."""
        ...

    async def verify(self) -> list[str]:
        """Read everything back; a sentence for what is not as it was written."""
        ...

    async def forget_damaged(self, quarantine: Path) -> None:
        """Let go of what cannot be read, so that it is lacking and is sent again; what is left of it is laid into a folder."""
        ...

    async def ping(self) -> None:
        """Raises Busy, Unwritable when bytes could be neither kept nor given."""
        ...

    async def tidy(self) -> None:
        """Bring what is kept into the form that is cheapest to keep."""
        ...

    async def close(self) -> None:
        """Let everything go."""
        ...
