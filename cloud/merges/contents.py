"""Reads what a merge lacks, a bounded amount at a time, and joins it in a thread."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

from cloud.context import Cloud
from cloud.merges.decide import Answer, Decided, Known, Question, Three, draw_merge
from store.errors import TooLarge
from store.types import Digest, digest_of
from sync.core.merge import merge_text

AT_ONCE: Final = 16
"""Contents that are read side by side."""
READ_BYTES: Final = 16 * 1024 * 1024
"""Of texts in memory at a time; one question is at most 12 MiB."""
JOINED_BYTES: Final = 64 * 1024 * 1024
"""Of joined texts in one merge; what is beyond is not joined, but left to people."""
MAX_RULES: Final = 16 * 1024 * 1024


async def decide(cloud: Cloud, three: Three, known: Known) -> Decided:
    """The whole merge; `known` has what it was made of. Raises TooLarge, BlobMissing."""
    while True:
        decided = await cloud.objects.over_nodes(lambda nodes: draw_merge(three, nodes, known))
        if not decided.lacks_joins and not decided.lacks_rules:
            return decided
        known.rules |= await read_blobs(cloud, decided.lacks_rules)
        if sum(map(len, known.rules.values())) > MAX_RULES:
            raise TooLarge("the rule files of this merge are over 16 MiB", "Merge on a machine, with `fst merge`.")
        await _answer(cloud, decided.lacks_joins, known)


async def _answer(cloud: Cloud, questions: Iterable[Question], known: Known) -> None:
    made = sum(len(answer.data or b"") for answer in known.answers.values())
    for group in _grouped(questions):
        if made > JOINED_BYTES:
            known.joins_all = False
            return
        contents = await read_blobs(cloud, {digest for question in group for digest in question.key})
        answers = await cloud.compute(lambda group=group, contents=contents: [_join(question, contents) for question in group])  # type: ignore[misc]
        known.answers.update(zip((question.key for question in group), answers, strict=True))
        made += sum(len(answer.data or b"") for answer in answers)


def _grouped(questions: Iterable[Question]) -> Iterable[list[Question]]:
    group: list[Question] = []
    size = 0
    for question in questions:
        if group and size + question.size > READ_BYTES:
            yield group
            group, size = [], 0
        group.append(question)
        size += question.size
    if group:
        yield group


def _join(question: Question, contents: dict[Digest, bytes]) -> Answer:
    merged = merge_text(*(contents[digest] for digest in question.key))
    if merged.data is None:
        return Answer(None, None, merged.conflicts)
    return Answer(merged.data, digest_of(merged.data))


async def read_blobs(cloud: Cloud, digests: Iterable[Digest]) -> dict[Digest, bytes]:
    """Whole contents; the caller has bounded their sizes. Raises BlobMissing, BlobDamaged."""
    wanted = list(digests)
    found: dict[Digest, bytes] = {}
    for at in range(0, len(wanted), AT_ONCE):
        some = wanted[at : at + AT_ONCE]
        found.update(zip(some, await asyncio.gather(*(_read(cloud, digest) for digest in some)), strict=True))
    return found


async def _read(cloud: Cloud, digest: Digest) -> bytes:
    return b"".join([piece async for piece in cloud.objects.stream(digest)])
