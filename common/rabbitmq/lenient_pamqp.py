"""Read every message, whatever its producer put into the properties.

pamqp refuses a timestamp beyond the year 9999 and text that is not UTF-8, and the refusal ends the connection: the
same message comes again and ends the next one, for ever. An odd property is no reason for that.
"""

from datetime import UTC, datetime

from pamqp import decode


def install() -> None:
    """Make pamqp's decoders for these two types tolerant. Its tables of decoders are meant to be looked up, so this is
    enough; installing twice changes nothing."""
    decode.METHODS["timestamp"] = _timestamp
    decode.METHODS["shortstr"] = _short_string
    decode.TABLE_MAPPING[b"T"] = _timestamp


def _timestamp(value: bytes) -> tuple[int, datetime | None]:
    seconds = int.from_bytes(value[:8], "big")
    try:
        return 8, datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return 8, None


def _short_string(value: bytes) -> tuple[int, str]:
    end = 1 + value[0]
    return end, value[1:end].decode("utf-8", "replace")
