from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sync.core.merge import diff_lines, is_text, merge_marked, merge_text, split_lines
from tests.triples import Triple, make_triple

texts = st.one_of(
    st.binary(max_size=60),
    st.lists(st.sampled_from([b"a\n", b"b\n", b"c\r\n", b"\n", b"d"]), max_size=30).map(b"".join),
)
triples = st.one_of(st.builds(Triple, texts, texts, texts), st.integers(0, 2**32).map(make_triple))


@given(texts, texts)
def test_only_one_side_changed(base: bytes, side: bytes) -> None:
    assert merge_text(base, base, side).data == side
    assert merge_text(base, side, base).data == side
    assert merge_text(base, side, side).data == side


@given(triples)
def test_the_sides_are_alike(triple: Triple) -> None:
    base, ours, theirs = triple
    one, other = merge_text(base, ours, theirs), merge_text(base, theirs, ours)
    assert one.data == other.data
    assert [(r.base_start, r.base_end, r.ours_start, r.theirs_end) for r in one.conflicts] == [
        (r.base_start, r.base_end, r.theirs_start, r.ours_end) for r in other.conflicts
    ]


@given(triples)
def test_what_each_side_added_is_in_a_clean_result(triple: Triple) -> None:
    base, ours, theirs = triple
    merged = merge_text(base, ours, theirs).data
    if merged is None:
        return
    before, after = split_lines(base), set(split_lines(merged))
    for side in (split_lines(ours), split_lines(theirs)):
        assert set(side) - set(before) <= after
    assert after <= {*before, *split_lines(ours), *split_lines(theirs)}
    # Merging again changes nothing: the result holds both sides' edits.
    assert merge_text(ours, ours, merged).data == merged
    if all(map(is_text, triple)):
        assert merge_marked(base, ours, theirs, ours_label="o", theirs_label="t") == merged


@given(triples)
def test_regions_are_in_order_and_differ(triple: Triple) -> None:
    base, ours, theirs = map(split_lines, triple)
    at = (-1, -1, -1)
    for region in merge_text(*triple).conflicts:
        starts = (region.base_start, region.ours_start, region.theirs_start)
        ends = (region.base_end, region.ours_end, region.theirs_end)
        assert all(last < start <= end for last, start, end in zip(at, starts, ends, strict=True))
        pieces = [text[start:end] for text, start, end in zip((base, ours, theirs), starts, ends, strict=True)]
        assert pieces[1] != pieces[2]
        assert pieces[0] not in pieces[1:]
        at = ends
    assert all(end <= len(text) for end, text in zip(at, (base, ours, theirs), strict=True))


@given(texts, texts)
def test_hunks_lead_from_one_text_to_the_other(old: bytes, new: bytes) -> None:
    before, after = split_lines(old), split_lines(new)
    assert b"".join(before) == old
    patched, at, new_at = [], 0, 0
    for hunk in diff_lines(before, after):
        assert hunk.old_start - at == hunk.new_start - new_at
        assert hunk.old_start > at or at == 0
        patched += before[at : hunk.old_start] + after[hunk.new_start : hunk.new_end]
        at, new_at = hunk.old_end, hunk.new_end
    assert patched + before[at:] == after


@given(st.lists(st.sampled_from(["", "ours", "theirs", "both"]), max_size=12))
def test_lines_that_each_have_one_author_join(authors: list[str]) -> None:
    """Replacements of whole lines, each line its own: touching or not, the truth is known."""
    base = [b"line %d\n" % at for at in range(len(authors))]
    told = [b"%d by %s\n" % (at, author.encode()) if author else base[at] for at, author in enumerate(authors)]
    ours, theirs = (
        [told[at] if author in (side, "both") else base[at] for at, author in enumerate(authors)] for side in ("ours", "theirs")
    )
    merged = merge_text(b"".join(base), b"".join(ours), b"".join(theirs)).data
    if "both" in authors:
        assert merged in (None, b"".join(told))
    else:
        assert merged == b"".join(told)
