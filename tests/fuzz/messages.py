"""Fuzz targets: what a message's body may hold, on its way to a record of either service.

As in `amqp`: each target takes any bytes and returns, or raises AssertionError; `SEEDS` are good beginnings.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from common.delivery import Delivery, Epoch, Properties
from common.envelope import ExtractionComplete, FileComplete, Projection
from common.errors import DecodeError, Reason
from common.kinds import KINDS
from common.pipeline.decoding import decode
from extractor.message import to_message
from extractor.synthetic.synthetic import SyntheticLoad, synthetic_record
from graphinator.model import edges_of, node_of
from graphinator.projection import DecodedRecord, GraphRecord, projection_of, read, stored_hash
from tableinator.model import PROJECTION, Row

_GRAPH = {kind: projection_of(kind) for kind in KINDS}
_NOBODY = {"", "0", "unknown", "null", "None"}
_INTEGERS = range(-(2**63), 2**63)
"""What a store's whole numbers hold."""


def decoder(data: bytes) -> None:
    """Any body becomes a row, a control message or a DecodeError; a row's id is the one that another reader finds."""
    try:
        decoded = decode(_delivery(data), PROJECTION, max_bytes=4096)
    except DecodeError as error:
        assert error.refusal.text or error.reason
        return
    if isinstance(decoded, Row):
        assert decoded.body is data
        assert decoded.id.strip() not in _NOBODY
        assert (found := _parsed(data)) is None or str(found["id"]) == decoded.id
    else:
        assert isinstance(decoded, FileComplete | ExtractionComplete)


def graph(data: bytes) -> None:
    """Any body becomes what each kind's statements take, or a DecodeError; the envelope read alone says the same."""
    alone = _decoded(data, PROJECTION)
    for kind, projection in _GRAPH.items():
        decoded = _decoded(data, projection)
        if isinstance(decoded, DecodedRecord):
            _check(kind, read(decoded))  # which raises nothing: a sink that reads it could dead-letter nobody
            assert isinstance(alone, Row)
            assert (decoded.id, decoded.hash) == (alone.id, stored_hash(alone.hash))
        elif isinstance(decoded, DecodeError) and decoded.reason is Reason.PROJECTION_FAILED:
            assert isinstance(alone, Row)
            assert decoded.record_id == alone.id
        elif isinstance(decoded, DecodeError):
            assert isinstance(alone, DecodeError)
            assert (decoded.reason, str(decoded)) == (alone.reason, str(alone))
        else:
            assert decoded == alone


def _decoded(data: bytes, projection: Projection[Any]) -> Any:
    try:
        return decode(_delivery(data), projection)
    except DecodeError as error:
        return error


def fields(data: bytes) -> None:
    """Values of any shape where the graph's model reads: the first byte is the kind, the rest makes the values."""
    kind = KINDS[data[0] % len(KINDS)] if data else KINDS[0]
    rest, record = iter(data[1:]), {"type": "data", "id": "1", "sha256": "ab"}
    names = [each.field for each in node_of(kind).properties] + [edge.field for edge in edges_of(kind)]
    for name in names:
        record[name] = _value(rest, depth=4)
    graph(json.dumps(record).encode())


TARGETS: Mapping[str, Callable[[bytes], None]] = {"decoder": decoder, "graph": graph, "fields": fields}


def _check(kind: str, record: GraphRecord) -> None:
    assert (len(record.properties), len(record.edges)) == (len(node_of(kind).properties), len(edges_of(kind)))
    for value in record.properties:
        assert value is None or (isinstance(value, int) and value in _INTEGERS) or _can_be_written(value)
    for edge, targets in zip(edges_of(kind), record.edges, strict=True):
        pairs = [(each, "") if edge.key is None else tuple(each) for each in targets]
        assert pairs == sorted(set(pairs))
        for target, key in pairs:
            assert _can_be_written(target)
            assert _can_be_written(key)
            assert target.strip() not in _NOBODY or edge.target in ("Genre", "Style")


def _can_be_written(value: object) -> bool:
    """Whether it is a text that UTF-8 can carry."""
    return isinstance(value, str) and value.encode().decode() == value


def _parsed(data: bytes) -> Any:
    """What Python's own reader makes of it; None if it can't."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


_SCALARS: Sequence[Any] = (
    None,
    "",
    "0",
    0,
    1,
    -1,
    2**63,
    1.5,
    True,
    "1",
    "a",
    "1999-03-00",
    "\0",
    "\u00e9",
    "null",
    " ",
)
_NAMES = ("id", "name", "catno", "role", "@id")


def _value(program: Iterator[int], *, depth: int) -> Any:
    """What the next bytes stand for: a scalar, a list or an object."""
    byte = next(program, 0)
    if byte < 128 or depth == 0:
        return _SCALARS[byte % len(_SCALARS)]
    size = byte % 4
    if byte < 192:
        return [_value(program, depth=depth - 1) for _ in range(size)]
    return {_NAMES[next(program, 0) % len(_NAMES)]: _value(program, depth=depth - 1) for _ in range(size)}


def _delivery(body: bytes) -> Delivery:
    return Delivery(1, Epoch(1), body, 0.0, "20260301", None, 0, Properties)


def _seeds() -> Iterator[bytes]:
    load = SyntheticLoad(2_000, seed=1)
    for number, kind in enumerate(KINDS):
        record = next(found for at in range(100) if (found := synthetic_record(load, kind, at)))
        yield to_message(kind, record).body
        yield bytes((number, *range(0, 256, 5)))
    yield b'{"type":"file_complete","data_type":"artists","total_processed":7}'
    yield b'{"type":"extraction_complete","version":"20260301","record_counts":{"artists":1}}'
    yield b'{"type":"data","id":1e5,"id":"a\\u0000","x":[-0,1e999,"\\ud83c\\udfb5","\\ud800",{"":[]}]}'
    yield b'{"type":"data","id":"1","x":' + b"[" * 1200 + b"]" * 1200 + b"}"


SEEDS: Sequence[bytes] = tuple(_seeds())
