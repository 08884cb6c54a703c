"""What the runtime needs of a content header, and all of it when somebody asks.

A content header is class, weight, body size, flags, and one value for each flag that is set, in the order of the flags:
content type, content encoding, the table of headers, and whatever follows that.
"""

import struct
from typing import NamedTuple

from pamqp.header import ContentHeader

from common.delivery import Properties, load_of
from common.rabbitmq.field_tables import read_table
from common.rabbitmq.lenient_pamqp import MALFORMED
from common.rabbitmq.properties import is_number, translated

PROPERTIES_AT = 14
"""Where the properties begin."""

HEADERS = 0x2000
"""Set if there is a table of headers."""

MORE_FLAGS = 0x0001
"""Set where a second word of flags follows. AMQP has properties for one word only."""

_FLAGS_AT, _FLAGS = 12, struct.Struct(">H")
_CONTENT_TYPE, _CONTENT_ENCODING = 0x8000, 0x4000
LENGTH = struct.Struct(">I")
"""Of a table, in front of its entries."""


class Facts(NamedTuple):
    """What a delivery says of itself; the fields are those of `Delivery`."""

    load: str | None = None
    published_ms: int | None = None
    delivery_count: int = 0


def facts_of(payload: bytes) -> Facts:
    """Decode the headers. What can't be read says nothing, as if it was not there."""
    start, end = table_of(payload)
    if start == end:
        return Facts()
    headers = read_table(payload, start + LENGTH.size, end)
    published, count = headers.get("timestamp_in_ms"), headers.get("x-delivery-count")
    return Facts(
        load_of(headers.get("load")), published if is_number(published) else None, count if is_number(count) else 0
    )


def read_properties(payload: bytes) -> Properties:
    """Decode all properties; none if they can't be read, because that is no reason to lose the message."""
    header = ContentHeader()
    try:
        header.unmarshal(payload)
        return translated(header.properties)
    except MALFORMED:
        return Properties()


def flags_of(payload: bytes) -> int:
    """The first word of flags."""
    return int(_FLAGS.unpack_from(payload, _FLAGS_AT)[0])


def table_of(payload: bytes) -> tuple[int, int]:
    """From where to where the table of headers stands, its length included; an empty range if there is none."""
    at, flags = PROPERTIES_AT, flags_of(payload)
    if not flags & HEADERS or flags & MORE_FLAGS:
        return at, at
    for flag in (_CONTENT_TYPE, _CONTENT_ENCODING):
        if flags & flag and at < len(payload):
            at += 1 + payload[at]
    if len(payload) < at + LENGTH.size:
        return at, at
    end = at + LENGTH.size + int(LENGTH.unpack_from(payload, at)[0])
    return (at, end) if end <= len(payload) else (at, at)
