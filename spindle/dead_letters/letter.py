"""What a dead letter says: ours by its headers, one of the broker's own by `x-death`."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import msgspec

from common.delivery import Properties, load_of
from common.envelope import Envelope
from common.errors import Reason
from common.kinds import Service
from common.rabbitmq.ops.queue_reader import StoredLetter
from common.rabbitmq.publishing.letter import PREFIX

REPLAYS = f"{PREFIX}replays"
_UNKNOWN = "unknown"
REASONS = (
    *(reason.value for reason in Reason),
    *(f"broker_{reason}" for reason in ("rejected", "expired", "maxlen", "delivery_limit")),
    _UNKNOWN,
)
"""Every reason that a letter can have: ours; those that RabbitMQ has; and what was put there by somebody else."""

_ENVELOPE = msgspec.json.Decoder(Envelope)
_DEATHS = ("x-death", "x-first-death-", "x-last-death-")
_OF_THE_JOURNEY = "timestamp_in_ms"
"""A replay's way to its commit would begin when the original was published, and raise an alarm about latency."""


@dataclass(frozen=True, slots=True)
class Letter:
    """One dead letter. Texts are empty if it does not say."""

    service: Service
    kind: str
    number: str
    """Ours have one; a letter and its copy have the same."""
    id: str
    reason: str
    error_class: str
    code: str
    text: str
    time: datetime | None
    """When it was set aside."""
    load: str | None
    replays: int
    """How many times it has been replayed, and failed again."""
    stored: StoredLetter

    @property
    def mark(self) -> tuple[str, bytes]:
        """What it is recognised by, as is its copy. Not its number alone: others may have none, or one for many."""
        return self.number, hashlib.sha256(self.stored.body).digest()

    def age(self, now: datetime) -> float | None:
        """Seconds since it was set aside."""
        return None if self.time is None else (now - self.time).total_seconds()


def read(stored: StoredLetter, service: Service, kind: str) -> Letter:
    """Read whatever kind of dead letter it is; never fails."""
    headers = stored.properties.headers
    ours = f"{PREFIX}reason" in headers
    said = {name: _text(headers.get(f"{PREFIX}{name}")) for name in ("letter", "id", "error-class", "code", "text")}
    replays = headers.get(REPLAYS)
    letter = Letter(
        service,
        kind,
        said["letter"],
        said["id"] if ours else _id_of(stored.body),
        _text(headers[f"{PREFIX}reason"]) if ours else _UNKNOWN,
        said["error-class"],
        said["code"],
        said["text"],
        _time(_text(headers.get(f"{PREFIX}time"))),
        load_of(headers.get("load")),
        replays if isinstance(replays, int) else 0,
        stored,
    )
    return letter if ours else _by_the_broker(letter, headers)


def to_replay(letter: Letter) -> Properties:
    """The properties with which a letter goes back: its original's, and how many times it has been replayed."""
    original = letter.stored.properties
    headers = {key: value for key, value in original.headers.items() if not _is_of_the_letter(key)}
    return replace(original, headers={**headers, REPLAYS: letter.replays + 1}, delivery_mode=2)


def as_data(letter: Letter) -> dict[str, Any]:
    """All but the body, for a program."""
    return {
        "service": letter.service,
        "kind": letter.kind,
        "id": letter.id,
        "reason": letter.reason,
        "error_class": letter.error_class,
        "code": letter.code,
        "text": letter.text,
        "time": letter.time.isoformat() if letter.time else None,
        "load": letter.load,
        "replays": letter.replays,
        "bytes": len(letter.stored.body),
        "letter": letter.number,
    }


def _is_of_the_letter(header: str) -> bool:
    return header.startswith((PREFIX, *_DEATHS)) or header == _OF_THE_JOURNEY


def _by_the_broker(letter: Letter, headers: Mapping[str, Any]) -> Letter:
    """The broker's newest reason comes first in its list."""
    deaths = headers.get("x-death")
    first = deaths[0] if isinstance(deaths, list) and deaths and isinstance(deaths[0], dict) else {}
    reason = _text(first.get("reason") or headers.get("x-first-death-reason"))
    if not reason:
        return letter
    time = first.get("time")
    return replace(
        letter,
        reason=f"broker_{reason}",
        text=f"the broker set it aside: {reason}, {first.get('count', 1)} times, from {_text(first.get('queue'))}",
        time=time if isinstance(time, datetime) else None,
    )


def _id_of(body: bytes) -> str:
    try:
        found = _ENVELOPE.decode(body).id
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    return str(found) if isinstance(found, str | int) else ""


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return "" if value is None else str(value)


def _time(text: str) -> datetime | None:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)
