"""What a published message looks like on the wire: a method frame, a header frame, body frames.

Pure. Written here because a dead letter must carry its properties on as they came (pamqp rounds floats and can't write
everything it reads), and because a producer's thousands of headers a second are worth a plain function.
"""

import struct
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from common.delivery import Properties
from common.rabbitmq.field_tables import REST, Raw

FRAME_MAX = 131_072
"""Bytes of a frame until the broker names its limit, and if it has none: RabbitMQ's default."""

_METHOD, _HEADER, _BODY, _END = 1, 2, 3, b"\xce"
_FRAME = struct.Struct(">BHI")
_PUBLISH = struct.pack(">HHH", 60, 40, 0)
_MANDATORY = b"\x01"
_CONTENT = struct.Struct(">HHQH")
_SHORT = 255
_OVERHEAD = 8  # bytes of a frame around its payload


def publish_frame(channel: int, exchange: str, routing_key: str = "") -> bytes:
    """The method frame of a mandatory `basic.publish`: the same for every message to one place."""
    return _frame(_METHOD, channel, _PUBLISH + short_text(exchange) + short_text(routing_key) + _MANDATORY)


def content_frames(channel: int, properties: Properties, body: bytes, *, frame_max: int) -> bytes:
    """The header frame and the body frames."""
    header = _frame(_HEADER, channel, content_header(properties, len(body)))
    largest = frame_max - _OVERHEAD
    if len(body) <= largest:
        return b"".join((header, _FRAME.pack(_BODY, channel, len(body)), body, _END) if body else (header,))
    return header + b"".join(
        _frame(_BODY, channel, body[start : start + largest]) for start in range(0, len(body), largest)
    )


def content_header(properties: Properties, body_size: int) -> bytes:
    """The header frame's payload: all properties, exactly as they go over the wire."""
    flags = 0
    parts: list[bytes] = []
    # In the order that the protocol lays down; a property's flag is the bit of its place, the first the highest.
    for bit, value in (
        (15, properties.content_type),
        (14, properties.content_encoding),
        (13, properties.headers or None),
        (12, properties.delivery_mode),
        (11, properties.priority),
        (10, properties.correlation_id),
        (9, properties.reply_to),
        (8, properties.expiration),
        (7, properties.message_id),
        (6, properties.timestamp),
        (5, properties.type),
        (4, properties.user_id),
        (3, properties.app_id),
    ):
        if value is not None:
            flags |= 1 << bit
            parts.append(_property(bit, value))
    return _CONTENT.pack(60, 0, body_size, flags) + b"".join(parts)


def header_size(properties: Properties) -> int:
    """Bytes of the header frame; it may not be longer than the connection's frame limit."""
    return len(content_header(properties, 0)) + _OVERHEAD


def table(values: Mapping[str, Any]) -> bytes:
    """A field table in the order of the mapping: what changes from message to message belongs at its end."""
    rest: bytes = values.get(REST, b"")
    if rest:  # last: whoever can't read it reads all else
        values = {key: value for key, value in values.items() if key is not REST}
    content = b"".join([short_text(key) + _value(value) for key, value in values.items()]) + rest
    return struct.pack(">I", len(content)) + content


def short_text(text: str) -> bytes:
    """A text of at most 255 bytes; a longer one is cut."""
    encoded = text.encode("utf-8", "replace")
    if len(encoded) > _SHORT:
        encoded = encoded[:_SHORT].decode("utf-8", "ignore").encode()
    return bytes((len(encoded),)) + encoded


def _frame(frame_type: int, channel: int, payload: bytes) -> bytes:
    return b"".join((_FRAME.pack(frame_type, channel, len(payload)), payload, _END))


def _property(bit: int, value: Any) -> bytes:
    if bit == 13:
        return table(value)
    if bit in (12, 11):
        return bytes((value & 0xFF,))
    if bit == 6:
        return struct.pack(">Q", max(0, value))
    return short_text(value)


def _value(value: Any) -> bytes:
    """One value of a table with its type."""
    if isinstance(value, str):
        return _long(b"S", value.encode("utf-8", "replace"))
    if isinstance(value, bool):
        return b"t\x01" if value else b"t\x00"
    if isinstance(value, int):
        return b"l" + struct.pack(">q", value) if -(1 << 63) <= value < 1 << 63 else _value(str(value))
    if isinstance(value, float):
        return b"d" + struct.pack(">d", value)
    if value is None:
        return b"V"
    return _rare_value(value)


def _rare_value(value: Any) -> bytes:
    if isinstance(value, Raw):
        return bytes(value)
    if isinstance(value, bytes):  # a text that was not UTF-8
        return _long(b"S", value)
    if isinstance(value, bytearray):
        return _long(b"x", bytes(value))
    if isinstance(value, datetime):
        return b"T" + struct.pack(">Q", max(0, int(value.timestamp())))
    if isinstance(value, dict):
        return b"F" + table(value)
    if isinstance(value, list):
        return _long(b"A", b"".join(map(_value, value)))
    if isinstance(value, Decimal):
        return _decimal(value)
    return _value(str(value))


def _decimal(value: Decimal) -> bytes:
    exponent = value.as_tuple().exponent
    scale = -exponent if isinstance(exponent, int) else -1
    if 0 <= scale <= 255 and 0 <= (digits := int(value.scaleb(scale))) < 1 << 32:
        return b"D" + struct.pack(">BI", scale, digits)
    return _value(str(value))


def _long(kind: bytes, content: bytes) -> bytes:
    return b"".join((kind, struct.pack(">I", len(content)), content))
