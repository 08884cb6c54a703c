"""What the runtime needs of a message's headers, without decoding them for each message.

Of one load's messages all headers are the same but the time of publishing, so the bytes around those eight are learned
from one message and recognised in the next. Whatever is not recognised is decoded by pamqp.
"""

import struct
from collections import deque
from typing import Any, NamedTuple, TypeGuard

from pamqp import commands, decode
from pamqp.exceptions import PAMQPException
from pamqp.header import ContentHeader

from common.delivery import Properties, load_of

PROPERTIES_AT = 14
"""Where the properties begin in a content header: behind class, weight, body size and flags."""

_FLAGS_AT, _FLAGS = 12, struct.Struct(">H")
_CONTENT_TYPE, _CONTENT_ENCODING, _HEADERS, _MORE_FLAGS = 0x8000, 0x4000, 0x2000, 0x0001
_LENGTH = struct.Struct(">I")
_STAMP = struct.Struct(">q")
_STAMP_NAME = b"\x0ftimestamp_in_msl"
_PROOFS = (0x0123456789ABCDEF, -2)
_SHAPES = 4  # fresh and returned messages of two loads
_PATIENCE = 16  # messages in a row that teach nothing new of use
# Everything pamqp raises for bytes that are no table.
_MALFORMED = (ValueError, LookupError, TypeError, ArithmeticError, struct.error, RecursionError, PAMQPException)


class Facts(NamedTuple):
    """What a delivery says of itself; the fields are those of `Delivery`."""

    load: str | None = None
    published_ms: int | None = None
    delivery_count: int = 0


class Shape(NamedTuple):
    """The bytes that are the same for many messages, and what they say."""

    flags: int
    prefix: bytes
    """The properties up to the eight bytes of the time, or up to the table's end where there is no time."""
    suffix: bytes
    """From there to the table's end."""
    size: int
    """Bytes from the properties' begin to the table's end."""
    is_stamped: bool
    facts: Facts


NOTHING = Shape(0, b"", b"", 0, False, Facts())
"""A message without any property."""


class Headers:
    """What headers have looked like so far on one connection."""

    def __init__(self) -> None:
        self.latest = NOTHING
        """The shape of the last message; whoever is in a hurry compares with it before asking for `read`."""
        self._shapes: deque[Shape] = deque([NOTHING], maxlen=_SHAPES)
        self._strangers = 0

    def read(self, payload: bytes) -> Facts:
        """Read the facts from a content header, wherever they stand in it."""
        for shape in self._shapes:
            facts = recognised(shape, payload)
            if facts is not None:
                self.latest, self._strangers = shape, 0
                return facts
        # Headers that differ from message to message teach nothing: after a while only now and then one is tried.
        self._strangers += 1
        if self._strangers <= _PATIENCE or self._strangers % _PATIENCE == 0:
            self._learn(payload)
        return facts_of(payload)

    def _learn(self, payload: bytes) -> None:
        shape = shape_of(payload)
        if shape is not None:
            self._shapes.appendleft(shape)
            self.latest = shape


def recognised(shape: Shape, payload: bytes) -> Facts | None:
    """What a content header of this shape says; None if it has another one."""
    stamp_at = PROPERTIES_AT + len(shape.prefix)
    if (
        len(payload) < PROPERTIES_AT + shape.size
        or _flags(payload) != shape.flags
        or not payload.startswith(shape.prefix, PROPERTIES_AT)
    ):
        return None
    if not shape.is_stamped:
        return shape.facts
    if not payload.startswith(shape.suffix, stamp_at + 8):
        return None
    return shape.facts._replace(published_ms=_STAMP.unpack_from(payload, stamp_at)[0])


def shape_of(payload: bytes) -> Shape | None:
    """Learn what other content headers may have in common with this one; None if it is too odd."""
    if len(payload) < PROPERTIES_AT or _flags(payload) & _MORE_FLAGS:
        return None
    start, end = _table(payload)
    if end > len(payload):
        return None
    stamp_at = payload.find(_STAMP_NAME, start, end) + len(_STAMP_NAME)
    is_stamped = len(_STAMP_NAME) <= stamp_at <= end - 8
    prefix, suffix = payload[PROPERTIES_AT:end], b""
    if is_stamped:
        prefix, suffix = payload[PROPERTIES_AT:stamp_at], payload[stamp_at + 8 : end]
    shape = Shape(_flags(payload), prefix, suffix, end - PROPERTIES_AT, is_stamped, facts_of(payload))
    return shape if not is_stamped or _is_proven(shape, payload[:PROPERTIES_AT]) else None


def facts_of(payload: bytes) -> Facts:
    """Decode the headers. What can't be read says nothing, as if it was not there."""
    start, end = _table(payload)
    if start == end or end > len(payload) or _flags(payload) & _MORE_FLAGS:
        return Facts()
    try:
        _, headers = decode.field_table(payload[start:end])
    except _MALFORMED:
        return Facts()
    published, count = headers.get("timestamp_in_ms"), headers.get("x-delivery-count")
    return Facts(
        load_of(headers.get("load")), published if _is_number(published) else None, count if _is_number(count) else 0
    )


def read_properties(payload: bytes) -> Properties:
    """Decode all properties of a content header, none where they can't be read: an odd property is no reason to lose a
    message or a connection."""
    header = ContentHeader()
    try:
        header.unmarshal(payload)
        return _translated(header.properties)
    except _MALFORMED:
        return Properties()


def _is_proven(shape: Shape, start: bytes) -> bool:
    """Whether the eight bytes are the time and nothing else: those in the middle of another text are not."""
    return all(
        facts_of(b"".join((start, shape.prefix, _STAMP.pack(proof), shape.suffix)))
        == shape.facts._replace(published_ms=proof)
        for proof in _PROOFS
    )


def _table(payload: bytes) -> tuple[int, int]:
    """From where to where the table of headers stands, its length included; an empty range where there is none."""
    at, flags = PROPERTIES_AT, _flags(payload)
    for flag in (_CONTENT_TYPE, _CONTENT_ENCODING):
        if flags & flag:
            at += 1 + (payload[at] if at < len(payload) else 0)
    if not flags & _HEADERS or len(payload) < at + _LENGTH.size:
        return (at, at) if not flags & _HEADERS else (at, len(payload) + 1)
    return at, at + _LENGTH.size + _LENGTH.unpack_from(payload, at)[0]


def _flags(payload: bytes) -> int:
    return int(_FLAGS.unpack_from(payload, _FLAGS_AT)[0])


def _is_number(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _translated(properties: commands.Basic.Properties) -> Properties:
    stamp: Any = properties.timestamp
    return Properties(
        content_type=properties.content_type,
        content_encoding=properties.content_encoding,
        headers=properties.headers or {},
        delivery_mode=properties.delivery_mode,
        priority=properties.priority,
        correlation_id=properties.correlation_id,
        reply_to=properties.reply_to,
        expiration=properties.expiration,
        message_id=properties.message_id,
        timestamp=int(stamp.timestamp()) if stamp else None,
        type=properties.message_type,
        user_id=properties.user_id,
        app_id=properties.app_id,
    )
