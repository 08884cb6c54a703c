"""What a dead letter carries: the original's properties, and headers that say why it is one. Pure."""

import secrets
from dataclasses import replace
from datetime import datetime
from typing import Any

from common.dead_letters import DeadLetter
from common.delivery import Properties
from common.rabbitmq.field_tables import REST
from common.rabbitmq.frames import header_size, table

PREFIX = "x-spindle-"

# Characters, each up to four bytes: together with the short headers less than 16 KiB.
_TEXT, _ID, _NAME = 2000, 1000, 200

_BROKERS_OWN = ("x-delivery-count", "x-acquired-count")
"""Headers of the delivery, not of the message: carried on, they would make a suspect of a record that is replayed."""

_ALSO_TO = "CC"
"""The header of routing keys to which the broker routes a message beside its own."""

_ALSO_TO_AS_BYTES = (b"\x02CC", b"\x03BCC")
"""How such headers begin among those that were not read; if one may be there, none of these is copied."""


def properties_of(letter: DeadLetter, *, service: str, at: datetime, frame_max: int) -> Properties:
    """The original's properties, with our headers before its own: of thousands, only so many are read.

    What would work again gets another name (`x-spindle-expiration`, `-user-id`, `-cc`): with the first the letter would
    vanish from its queue, with the second the broker would refuse it from anybody but that user, with the third it
    would go to other queues too. All headers must fit one frame: if they don't, the original's largest are left out,
    one by one.
    """
    original = letter.delivery.read_properties()
    properties = publishable(original)
    ours = _reasons(letter, original, service=service, at=at)
    headers = {**ours, **properties.headers, **ours}
    properties = replace(properties, headers=headers)
    _leave_out(headers, header_size(properties) - frame_max)
    return properties


def _leave_out(headers: dict[str, Any], excess: int) -> None:
    """Leave out so many bytes of headers, large ones first; ours last, and only if a broker's frames are unusually
    small."""
    if excess <= 0:
        return
    # Each is weighed once: thousands of small ones would otherwise be weighed for each that goes.
    sizes = {key: len(table({key: value})) - len(table({})) for key, value in headers.items()}
    for key in sorted(headers, key=lambda key: (not key.startswith(PREFIX), sizes[key]), reverse=True):
        if excess <= 0:
            return
        del headers[key]
        excess -= sizes[key]


def publishable(original: Properties) -> Properties:
    """What of a message's properties a copy may have: nothing that would end it, send it to others as well, or have the
    broker refuse it."""
    headers = {key: value for key, value in original.headers.items() if key not in (*_BROKERS_OWN, _ALSO_TO)}
    if any(name in headers.get(REST, b"") for name in _ALSO_TO_AS_BYTES):
        del headers[REST]
    kept = {"expiration": original.expiration, "user-id": original.user_id, "cc": original.headers.get(_ALSO_TO)}
    headers |= {f"{PREFIX}{name}": value for name, value in kept.items() if value is not None}
    return replace(original, headers=headers, expiration=None, user_id=None)


def _reasons(letter: DeadLetter, original: Properties, *, service: str, at: datetime) -> dict[str, Any]:
    refusal = letter.refusal
    replays = original.headers.get(f"{PREFIX}replays")
    reasons = {
        "letter": secrets.token_hex(8),  # tells a letter from its copy, should both ever be there
        "reason": str(letter.reason),
        "error-class": refusal.error_class[:_NAME],
        "code": refusal.code[:_NAME],
        "text": refusal.text[:_TEXT],
        "service": service,
        "kind": letter.kind,
        "id": letter.record_id[:_ID],
        "time": at.isoformat(timespec="milliseconds"),
        "load": (letter.delivery.load or "")[:_NAME],
        "replays": replays if isinstance(replays, int) else 0,
    }
    return {f"{PREFIX}{name}": value for name, value in reasons.items()}
