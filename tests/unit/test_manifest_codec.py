from __future__ import annotations

import msgspec
import pytest
import zstandard

from store.errors import InvalidManifest, InvalidReply
from store.manifest import EMPTY_NODE, EMPTY_ROOT, EntryRecord, encode_node, entry_of, parse_node, record_of
from store.types import DIR, Digest, Entry, File, Link, RelPath, digest_of, parse_path
from sync.core.wire import pack_delta, parse_delta

HASH = "ab" * 32
FILE = File(Digest(bytes.fromhex(HASH)), 7)
ODD_NAMES = [
    b"plain",
    b"caf\xc3\xa9",
    b"cafe\xcc\x81",
    b"caf\xe9",
    b"\xff\xfe/\x80",
    b"new\nline",
    b'"quotes" and \\ and \'',
    b"tab\t\x01\x1f\x7f",
    b" ",
    "\U0001f600/\u2028\u202e".encode(),
    b"\xed\xa0\x80",
    b"n" * 255,
    b"\xf0" * 255,
    b"/".join([b"d" * 200] * 20),
]


def decode(text: bytes) -> EntryRecord:
    return msgspec.json.decode(text, type=EntryRecord)


@pytest.mark.parametrize("name", ODD_NAMES)
@pytest.mark.parametrize("entry", [FILE, File(digest_of(b""), 0, True), DIR, Link(b"t"), Link(b"t\xff"), None])
def test_record_comes_back(name: bytes, entry: Entry | None) -> None:
    path = parse_path(name)
    text = msgspec.json.encode(record_of(path, entry))
    assert entry_of(decode(text)) == (path, entry)
    assert msgspec.json.encode(decode(text)) == text


@pytest.mark.parametrize(
    ("path", "entry", "text"),
    [
        (b"a", FILE, b'{"path":"a","type":"file","hash":"%s","size":7}' % HASH.encode()),
        (b"a", File(FILE.digest, 0, True), b'{"path":"a","type":"file","hash":"%s","size":0,"exec":true}' % HASH.encode()),
        (b"a/b", DIR, b'{"path":"a/b","type":"dir"}'),
        (b"l", Link(b"../x"), b'{"path":"l","type":"link","target":"../x"}'),
        (b"l\xff", Link(b"\xff"), b'{"path_b64":"bP8=","type":"link","target_b64":"/w=="}'),
        (b"a", None, b'{"path":"a","type":"none"}'),
        (b'"\n\xc3\xa9', DIR, b'{"path":"\\"\\n\xc3\xa9","type":"dir"}'),
    ],
)
def test_record_text(path: bytes, entry: Entry | None, text: bytes) -> None:
    assert msgspec.json.encode(record_of(RelPath(path), entry)) == text


def test_delta_round_trip() -> None:
    delta = [(parse_path(name), entry) for name in sorted(ODD_NAMES) for entry in (FILE, None, DIR, Link(b"\xff"))]
    assert [change for payload in pack_delta(delta) for change in parse_delta(payload)] == delta


@pytest.mark.parametrize(
    "text",
    [
        b'{"type":"dir"}',
        b'{"path":"a","path_b64":"/w==","type":"dir"}',
        b'{"path_b64":"YQ==","type":"dir"}',
        b'{"path_b64":"/w","type":"dir"}',
        b'{"path_b64":"/x==","type":"dir"}',
        b'{"path_b64":"/w==\\n","type":"dir"}',
        b'{"path_b64":"\\u00ff","type":"dir"}',
        b'{"path":"a","type":"file"}',
        b'{"path":"a","type":"file","size":1}',
        b'{"path":"a","type":"file","hash":"HASH"}',
        b'{"path":"a","type":"file","hash":"HASH","size":-1}',
        b'{"path":"a","type":"file","hash":"HASH","size":9223372036854775808}',
        b'{"path":"a","type":"file","hash":"HASH","size":1,"target":"x"}',
        b'{"path":"a","type":"file","hash":"HASH","size":1,"target_b64":"/w=="}',
        b'{"path":"a","type":"file","hash":"AB%s","size":1}' % (b"ab" * 31),
        b'{"path":"a","type":"file","hash":"  %s","size":1}' % (b"ab" * 31),
        b'{"path":"a","type":"file","hash":"%s","size":1}' % (b"ab" * 31),
        b'{"path":"a","type":"dir","size":0}',
        b'{"path":"a","type":"dir","exec":true}',
        b'{"path":"a","type":"dir","hash":"HASH"}',
        b'{"path":"a","type":"dir","target":"x"}',
        b'{"path":"a","type":"none","target_b64":"/w=="}',
        b'{"path":"a","type":"none","size":1}',
        b'{"path":"a","type":"link"}',
        b'{"path":"a","type":"link","target":""}',
        b'{"path":"a","type":"link","target":"a\\u0000b"}',
        b'{"path":"a","type":"link","target":"x","target_b64":"/w=="}',
        b'{"path":"a","type":"link","target":"x","size":1}',
    ],
)
def test_contradictory_records_are_refused(text: bytes) -> None:
    with pytest.raises(InvalidManifest):
        entry_of(decode(text.replace(b"HASH", HASH.encode())))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"null",
        b'{"level":0,"entries":[',
        b'{"level":0}',
        b'{"level":0,"children":[]}',
        b'{"level":1,"entries":[]}',
        b'{"level":0,"entries":[{"path":"a","type":"pipe"}]}',
        b'{"level":0,"entries":[{"path":"\xff","type":"dir"}]}',
        b'{"level":0,"entries":[{"path":"\xed\xa0\x80","type":"dir"}]}',
        b'{"level":0,"entries":[{"path":"\\ud800","type":"dir"}]}',
        b'{"level":0,"entries":[{"path":1,"type":"dir"}]}',
        b'{"level":"0","entries":[]}',
        b"[" * 100_000,
    ],
)
def test_bytes_that_are_no_node(data: bytes) -> None:
    with pytest.raises(InvalidManifest):
        parse_node(data)


def test_empty_node() -> None:
    assert EMPTY_NODE == b'{"level":0,"entries":[]}'
    assert digest_of(EMPTY_NODE) == EMPTY_ROOT
    assert encode_node(parse_node(EMPTY_NODE)) == EMPTY_NODE


@pytest.mark.parametrize("raw", [b'[{"path":"\xff","type":"dir"}]', b'[{"path":"a","type":"pipe"}]', b"["])
def test_a_delta_that_cannot_be_read(raw: bytes) -> None:
    with pytest.raises(InvalidReply):
        parse_delta(zstandard.ZstdCompressor().compress(raw))
