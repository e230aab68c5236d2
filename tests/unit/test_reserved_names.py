"""`.git` and `.fst` in every spelling that some file system folds to them; the short way for ASCII agrees with the long one."""

from __future__ import annotations

import unicodedata

import msgspec
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from store.errors import InvalidManifest, InvalidValue
from store.manifest import check_node, record_of
from store.manifest.node import encode_leaf
from store.types import DIR, File, RelPath, digest_of, is_ours, parse_path
from sync.core.wire import parse_delta

OURS = [
    b".git", b".GIT", b".Git.", b".git. .", b".git::$INDEX_ALLOCATION", b".git \x7f", b".git\x01", b"git~1", b"GIT~22", b"fst~1",
    b".fst", b".FST...", ".g\u200cit".encode(), ".\u200dgit".encode(), ".gi\u0307t".encode(), "\uff0e\uff47\uff49\uff54".encode(),
    b".git\\hooks", b".GIT \\x", b".fst\\store.db", b"git~1\\hooks", ".g\u0131t".encode(), ".f\u017ft".encode(), ".git\u200c".encode(),
    ".git\ufeff ".encode(), b".git.:x", b".fst::$DATA", ".F\u200dST".encode(),
]  # fmt: skip
OTHERS = [
    b".gitignore",
    b".github",
    b".git-x",
    b"git",
    b".git.x",
    b"a.git",
    b".fst-tmp-1",
    b".fstignore",
    b"git~",
    b"git~x",
    b"a~1",
    b"x",
    b"a\\.git",
    b".gitx\\y",
]


@pytest.mark.parametrize("name", OURS)
def test_a_spelling_that_folds_to_one_of_ours_is_ours(name: bytes) -> None:
    assert is_ours(name)


@pytest.mark.parametrize("name", OURS)
def test_a_spelling_of_ours_is_refused_wherever_it_comes_in(name: bytes) -> None:
    """On every platform: by a server from a client, by a client from a server, as a delta and as a node."""
    paths = [name, b"d/" + name, name + b"/hooks/pre-commit"]
    for path in paths:
        with pytest.raises(InvalidValue):
            parse_path(path)
        record = record_of(RelPath(path), File(digest_of(b"1"), 1))
        for sent in ([record], [record_of(RelPath(b"d"), DIR), record]):
            with pytest.raises(InvalidValue):
                parse_delta(zstandard.ZstdCompressor().compress(msgspec.json.encode(sent)))
        leaf = encode_leaf([record])
        with pytest.raises(InvalidManifest):
            check_node(digest_of(leaf), leaf)


@pytest.mark.parametrize("name", OTHERS)
def test_other_names_are_free(name: bytes) -> None:
    assert not is_ours(name)


@given(st.text("gitfGITs. :~1x\x01\x7f", max_size=8).map(str.encode))
def test_ascii_is_told_as_by_folding(name: bytes) -> None:
    text = unicodedata.normalize("NFKC", "." + name.decode())
    kept = text[0] + "".join(c for c in text[1:] if unicodedata.category(c) != "Cc")
    folded = kept.casefold().split(":", 1)[0].rstrip(". ")
    spelt_first = text[:4].casefold() in (".git", ".fst")  # a control character among the first four is no spelling of any system
    if "~" not in folded:
        assert is_ours(b"." + name) == (spelt_first and folded in (".git", ".fst"))
