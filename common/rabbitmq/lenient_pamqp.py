"""Read every message, whatever its producer put into the properties.

pamqp refuses a timestamp beyond the year 9999, text that is not UTF-8 and odd tables (`field_tables.py`), and the
refusal ends the connection: the same message comes again and ends the next one, forever. An odd property is no reason
for that.
"""

import struct
from collections.abc import Callable
from datetime import datetime
from typing import Any

from pamqp import decode
from pamqp.exceptions import PAMQPException
from pamqp.header import ContentHeader

from common.rabbitmq.field_tables import read_table, time_of

MALFORMED = (ValueError, LookupError, TypeError, ArithmeticError, struct.error, RecursionError, PAMQPException)
"""Everything pamqp raises for bytes that are no properties."""

_LENGTH = struct.Struct(">I")
_unmarshal: Callable[[ContentHeader, bytes], None] = ContentHeader.unmarshal


def install() -> None:
    """Make pamqp's decoders tolerant. Its tables of decoders are meant to be looked up, so this is enough; installing
    twice changes nothing."""
    decode.METHODS["timestamp"] = _timestamp
    decode.METHODS["shortstr"] = _short_string
    decode.METHODS["table"] = _table
    ContentHeader.unmarshal = _content_header  # type: ignore[assignment]  # see there


def _timestamp(value: bytes) -> tuple[int, datetime | None]:
    return 8, time_of(int.from_bytes(value[:8], "big"))


def _short_string(value: bytes) -> tuple[int, str]:
    end = 1 + value[0]
    return end, value[1:end].decode("utf-8", "replace")


def _table(value: bytes) -> tuple[int, dict[str, Any]]:
    end = _LENGTH.size + int(_LENGTH.unpack_from(value)[0])
    return end, read_table(value, _LENGTH.size, end)


def _content_header(header: ContentHeader, data: bytes) -> None:
    """Read a content header; of properties that can't be read those that come before them are kept."""
    try:
        _unmarshal(header, data)
    except MALFORMED:
        if len(data) < 12:  # not even the size of the body
            raise
    header.properties.size = len(data)  # type: ignore[attr-defined]  # nobody else could tell it later
