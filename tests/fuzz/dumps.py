"""Fuzz targets: what a dump may hold, on its way to messages.

As in `amqp`: each target takes any bytes and returns, or raises AssertionError; `SEEDS` are good beginnings.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from common.delivery import Delivery, Epoch, Properties
from common.envelope import Projection
from common.errors import DecodeError
from common.kinds import KINDS
from common.pipeline.decoding import decode
from extractor.message import Record, canonical_json, to_message
from extractor.reading import TAGS, BrokenRecord, guess_id, read_record
from extractor.splitting import Piece, split
from extractor.streams import Truncated
from graphinator.projection import projection_of
from tableinator.model import PROJECTION

_GRAPH = {kind: projection_of(kind) for kind in KINDS}
_BLANKS = b"<>" + b" " * 5000
"""So long that what is before them is looked at before all bytes are there; a tag or quote that is open ends here."""
_LONG_TAG = re.compile(rb"<[^<]{4000}")
"""A tag of thousands of bytes is none, where its end has not arrived yet."""

Found = list[tuple[object, ...]]


def splitting(data: bytes) -> None:
    """Any bytes come apart into pieces and skips, alike wherever they are cut: first byte kind, second size of cuts."""
    kind, size, document = _kind(data), data[1] + 1 if len(data) > 1 else 1, data[2:] + _BLANKS + data[2:]
    if _LONG_TAG.search(data):
        return
    whole = _apart([document], kind)
    assert _apart((document[at : at + size * 16] for at in range(0, len(document), size * 16)), kind) == whole
    for offset, raw, *_ in whole[0]:
        assert isinstance(offset, int)
        assert not isinstance(raw, bytes) or document[offset:].startswith(raw)


def records(data: bytes) -> None:
    """Any bytes as a dump: what comes out of it as a message is what the services read; first byte kind."""
    kind = _kind(data)
    for offset, raw, *_ in _apart([data[1:]], kind)[0]:
        if isinstance(raw, bytes):
            _read(kind, raw, offset)


def elements(data: bytes) -> None:
    """Records of well-formed XML, of known and unknown elements in any order: the first byte is the kind."""
    kind = _kind(data)
    tag = TAGS[kind]
    inside = b"".join(_elements(iter(data[1:]), depth=5))
    raw = f'<{tag} id="1">'.encode() + inside + f"</{tag}>".encode()
    _read(kind, raw, 0)


TARGETS: Mapping[str, Callable[[bytes], None]] = {"splitting": splitting, "records": records, "elements": elements}


def _read(kind: str, raw: bytes, offset: object) -> None:
    assert offset is not None
    try:
        record = read_record(raw)
    except BrokenRecord as error:
        assert str(error)
        guess_id(raw)
        return
    _check(kind, record)


def _check(kind: str, record: Record) -> None:
    """Hash and body are those of the record, and the services read it, or say why not."""
    message = to_message(kind, record)
    canonical = json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    assert message.sha256 == hashlib.sha256(canonical).hexdigest()
    assert canonical == canonical_json(record)
    assert not record.keys() & {"type", "sha256"}
    assert json.loads(message.body) == {"type": "data", "sha256": message.sha256, **record}
    delivery = Delivery(1, Epoch(1), message.body, 0.0, None, None, 0, Properties)
    projections: tuple[Projection[Any], ...] = (PROJECTION, _GRAPH[kind])
    for projection in projections:
        try:
            read = decode(delivery, projection)
        except DecodeError:
            continue
        assert getattr(read, "id", None) == record["id"]


def _apart(chunks: Iterable[bytes], kind: str) -> tuple[Found, str]:
    """Pieces (offset, bytes) and skips (offset, reason, id), and how the bytes ended."""
    found: Found = []
    try:
        for each in split(chunks, kind):
            if isinstance(each, Piece):
                found.append((each.offset, each.raw))
            else:
                found.append((each.offset, str(each.reason), each.record_id))
    except Truncated as error:
        return found, str(error)
    return found, ""


def _kind(data: bytes) -> str:
    return KINDS[data[0] % len(KINDS)] if data else KINDS[0]


_TAGS = (
    *(
        "id",
        "name",
        "aliases",
        "artists",
        "artist",
        "companies",
        "extraartists",
        "formats",
        "format",
        "genres",
        "genre",
    ),
    *("groups", "identifiers", "images", "labels", "label", "members", "master_id", "namevariations", "parentLabel"),
    *("series", "styles", "sublabels", "tracklist", "track", "sub_tracks", "urls", "videos", "descriptions", "odd"),
)
_TEXTS = (b"", b"1", b"0", b" a ", b"&amp;", b"&#9;", "ẞ🎵".encode(), b"<![CDATA[<b>]]>", b"<!-- c -->", b"<?p i?>")
_ATTRIBUTES = (b"", b' id="1"', b' id=""', b' name="n" qty="1"', b" x='&lt;'")


def _elements(program: Iterator[int], *, depth: int) -> Iterator[bytes]:
    """What the next bytes stand for: texts and elements, until one says that it is enough."""
    while byte := next(program, 0):
        if byte >= 192 or depth == 0:
            yield _TEXTS[byte % len(_TEXTS)]
            continue
        tag = _TAGS[byte % len(_TAGS)].encode()
        attributes = _ATTRIBUTES[next(program, 0) % len(_ATTRIBUTES)]
        yield b"<" + tag + attributes + b">" + b"".join(_elements(program, depth=depth - 1)) + b"</" + tag + b">"


def _seeds() -> Iterator[bytes]:
    release = (
        b'<release id="1" status="Accepted"><title>T &amp; U</title><artists><artist><id>2</id><name>A</name></artist>'
        b'</artists><labels><label catno="C 1" id="3" name="L"/></labels><genres><genre>Rock</genre></genres>'
        b"<tracklist><track><position>1</position><title><![CDATA[</release>]]></title></track></tracklist></release>"
    )
    label = (
        b"<label><id>1</id><name>L</name><sublabels><label id='2'>M</label><label/></sublabels><urls><url>u</url>"
        b"</urls><!-- <label> --></label>"
    )
    artist = b'<artist><id>1</id><name>A</name><members><id>2</id><name id="2">B</name></members></artist>'
    master = b'<master id="1"><main_release>2</main_release><year>1999</year><styles><style>S</style></styles></master>'
    head = b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "b">]>'
    for number, (kind, record) in enumerate(zip(KINDS, (artist, label, master, release), strict=True)):
        root = kind.encode()
        dump = b"<" + root + b">" + record + b"\n" + record.replace(b">1<", b">&a;<") + b"</" + root + b">"
        yield bytes((number,)) + dump
        yield bytes((number, 40)) + head + dump
        yield bytes((number, *range(1, 255, 3)))


SEEDS: Sequence[bytes] = tuple(_seeds())
