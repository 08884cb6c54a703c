"""Turn a delivery into a record or a control message, or say why it can be neither.

Only the envelope is read here, with the fields that the service's projection adds to it.
"""

from typing import Any

import msgspec

from common.delivery import Delivery
from common.envelope import NO_IDS, Control, Envelope, ExtractionComplete, FileComplete, Projection, R
from common.errors import DecodeError, Reason

_ENVELOPE = msgspec.json.Decoder(Envelope)
_CONTROLS: dict[str, msgspec.json.Decoder[Any]] = {
    "file_complete": msgspec.json.Decoder(FileComplete),
    "extraction_complete": msgspec.json.Decoder(ExtractionComplete),
}
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError)

MESSAGE_MAX_BYTES = 16 * 2**20
"""What a broker takes by default from 4.0 on, and dozens of times the largest record known."""


def decode(delivery: Delivery, project: Projection[R], *, max_bytes: int = MESSAGE_MAX_BYTES) -> R | Control:
    """Read one delivery.

    Raises: DecodeError with the reason, for everything that no retry would fix.
    """
    if len(delivery.body) > max_bytes:
        raise DecodeError(Reason.TOO_LARGE, f"{len(delivery.body)} bytes; allowed by MESSAGE_MAX_BYTES is {max_bytes}")
    try:
        return _read(delivery, project)
    except RecursionError as error:  # Python's own limit: about 1,000 levels up to 3.11, some thousand from 3.12 on
        raise DecodeError(Reason.TOO_DEEP, "nested deeper than any record is", error_class="RecursionError") from error


def _read(delivery: Delivery, project: Projection[R]) -> R | Control:
    try:
        envelope = project.read(delivery.body)
    except (*_UNREADABLE, RecursionError) as error:
        return _without_fields(delivery, error)
    if envelope.type != "data":
        return _control(delivery, envelope)
    record_id = usable_id(envelope.id)
    try:
        return project.make(envelope, delivery, record_id)
    except RecursionError:
        raise
    except Exception as error:  # a projection may meet anything; the line goes on (docs/failures.md)
        raise _not_projected(error, record_id) from error


def _without_fields(delivery: Delivery, unread: Exception) -> Control:
    """Read the envelope alone: the service's fields may be unreadable, and a control message has none of them."""
    try:
        envelope = _ENVELOPE.decode(delivery.body)
    except _UNREADABLE as error:
        raise DecodeError(Reason.NOT_JSON, str(error), error_class=type(error).__name__) from error
    if envelope.type != "data":
        return _control(delivery, envelope)
    record_id = usable_id(envelope.id)
    if isinstance(unread, RecursionError):
        raise unread
    raise _not_projected(unread, record_id) from unread


def _not_projected(error: Exception, record_id: str) -> DecodeError:
    return DecodeError(Reason.PROJECTION_FAILED, str(error), error_class=type(error).__name__, record_id=record_id)


def usable_id(value: object) -> str:
    """Give the id as text; a whole number is taken as its digits.

    Raises: DecodeError if it identifies nothing.
    """
    if isinstance(value, str):
        text = value
    elif isinstance(value, int) and not isinstance(value, bool):
        text = str(value)
    else:
        shown = "missing or null" if value is None else f"of type {type(value).__name__}"
        raise DecodeError(Reason.NO_USABLE_ID, f"id is {shown}; allowed is a text or a whole number")
    if text.strip() in NO_IDS:
        raise DecodeError(Reason.NO_USABLE_ID, f"id is {text!r}, which identifies nothing")
    return text


def _control(delivery: Delivery, envelope: Envelope) -> Control:
    decoder = _CONTROLS.get(envelope.type) if isinstance(envelope.type, str) else None
    if decoder is None:
        shown = repr(envelope.type)[:100]
        raise DecodeError(
            Reason.UNKNOWN_TYPE, f"type is {shown}; allowed are 'data', 'file_complete', 'extraction_complete'"
        )
    try:
        control: Control = decoder.decode(delivery.body)
    except _UNREADABLE as error:
        raise DecodeError(Reason.INVALID_CONTROL, str(error), error_class=type(error).__name__) from error
    return control
