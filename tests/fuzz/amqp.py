"""Fuzz targets: what a broker, or whoever listens in its place, may send, and what a message may carry.

Each target takes any bytes and returns, or raises AssertionError. The first byte says where the rest is cut, so that
whatever mutates bytes mutates the cutting too. `SEEDS` are good beginnings: bytes that mean something.
"""

import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime

import pamqp.frame
from pamqp.commands import Basic, Channel, Connection
from pamqp.heartbeat import Heartbeat

from common.dead_letters import DeadLetter
from common.delivery import Delivery, Epoch, Properties
from common.errors import Reason, Refusal
from common.rabbitmq import lenient_pamqp
from common.rabbitmq.consuming.fast.header_cache import Shapes
from common.rabbitmq.consuming.fast.headers import PROPERTIES_AT, facts_of, read_properties
from common.rabbitmq.consuming.fast.parser import FrameError, Parser
from common.rabbitmq.frames import FRAME_MAX, content_frames, header_size
from common.rabbitmq.publishing.letter import properties_of

_FRAME = 7  # bytes before a frame's payload
_TYPES = (1, 2, 3, 8)  # method, header, body, heartbeat

lenient_pamqp.install()  # as connecting does


def stream(data: bytes) -> None:
    """Whatever arrives, in whatever pieces: deliveries and frames come out, or FrameError; the pieces make no
    difference, and a delivery that came out can be asked for all it has."""
    if data:
        cut, whole = _parsed(_pieces(data)), _parsed([data[1:]])
        assert cut[2] == whole[2]
        shorter = min(len(cut[0]), len(whole[0]))  # what a whole read has lost to an error further on
        assert cut[0][:shorter] == whole[0][:shorter]
        assert cut[2] or cut[:2] == whole[:2]


def frames(data: bytes) -> None:
    """Frames that begin and end as they should, with whatever in them: a type, a size and a payload each."""
    built, at = data[:1], 1
    while at + 2 < len(data):
        size = data[at + 1]
        payload = data[at + 2 : at + 2 + size]
        built += struct.pack(">BHI", _TYPES[data[at] % len(_TYPES)], 1, len(payload)) + payload + b"\xce"
        at += 2 + size
    stream(built)


def headers(data: bytes) -> None:
    """Whatever a content header holds: facts and properties are read, or count as absent; alike for one that is read
    alone and for one of many."""
    payload = data.ljust(PROPERTIES_AT, b"\0")
    shapes = Shapes()
    assert [shapes.read(payload) for _ in range(3)] == [facts_of(payload)] * 3
    assert isinstance(read_properties(payload), Properties)


def letter(data: bytes) -> None:
    """Whatever a content header holds: a dead letter that carries it on fits a frame, and can be read again."""
    original = read_properties(data.ljust(PROPERTIES_AT, b"\0"))
    delivery = Delivery(1, Epoch(1), data, 0.0, None, None, 0, lambda: original)
    refusal = Refusal("Error", "00000", data.decode("utf-8", "replace"))
    dead = DeadLetter(delivery, "artists", data.decode("latin-1"), Reason.REFUSED, refusal)
    for frame_max in (4096, FRAME_MAX):
        written = properties_of(dead, service="tableinator", at=datetime.now(UTC), frame_max=frame_max)
        assert header_size(written) <= frame_max
        size, frames = header_size(written), content_frames(1, written, data, frame_max=frame_max)
        assert read_properties(frames[_FRAME : size - 1]).headers["x-spindle-reason"] == "refused"


TARGETS: Mapping[str, Callable[[bytes], None]] = {
    "stream": stream,
    "frames": frames,
    "headers": headers,
    "letter": letter,
}


def _pieces(data: bytes) -> Iterator[bytes]:
    size = data[0] or 1
    for at in range(1, len(data), size):
        yield data[at : at + size]


def _parsed(pieces: Iterator[bytes] | Sequence[bytes]) -> tuple[list[tuple[object, ...]], bytes, bool]:
    """What came out of these pieces, and whether they broke the protocol."""
    parser, rest, seen = Parser(), b"", list[tuple[object, ...]]()
    parser.begin(Epoch(1), frame_max=4096)
    try:
        for piece in pieces:
            parsed = parser.feed(piece, 1.0)
            rest += parsed.rest
            seen += [
                (each.tag, each.body, each.load, each.published_ms, each.delivery_count, repr(each.read_properties()))
                for each in parsed.deliveries
            ]
    except FrameError:
        return seen, rest, True
    return seen, rest, False


def _seeds() -> Iterator[bytes]:
    properties = [
        Properties(headers={"load": "20260301", "timestamp_in_ms": 1_772_323_200_123}, content_type="application/json"),
        Properties(headers={"x-delivery-count": 3, "own": ["x", 1, None, {"deep": 1.5}]}, message_id="artists:1"),
        Properties(headers={"traceparent": "00-1f-2e-01", "sequence": 7, "load": "20260301", "timestamp_in_ms": 5}),
        Properties(),
    ]
    whole = b""
    for tag, each in enumerate(properties * 2, start=1):
        method = pamqp.frame.marshal(Basic.Deliver("ctag1.0", tag, False, "releases", ""), 1)
        content = content_frames(1, each, b'{"id":"1"}' * tag**4, frame_max=4096)
        header_end = content.index(b"\xce\x03") if b"\xce\x03" in content else len(content) - 1
        yield content[_FRAME:header_end]
        whole += method + content
    others = ((0, Heartbeat()), (0, Connection.Blocked("low on memory")), (1, Channel.Close(406, "no", 60, 80)))
    for size in (0, 3, 200):
        yield bytes((size,)) + whole + b"".join(pamqp.frame.marshal(frame, channel) for channel, frame in others)
    told = list(_told(whole))
    yield b"\0" + b"".join(told)
    yield b"\0" + told[0] + bytes((_TYPES.index(2), 5)) + b"short"


def _told(whole: bytes) -> Iterator[bytes]:
    """Frames as `frames` takes them, but for those that are too long for it."""
    while whole:
        kind, _, size = struct.unpack_from(">BHI", whole)
        if size < 256:
            yield bytes((_TYPES.index(kind), size)) + whole[_FRAME : _FRAME + size]
        whole = whole[_FRAME + size + 1 :]


SEEDS: Sequence[bytes] = tuple(_seeds())
