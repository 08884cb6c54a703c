"""What an operator's policy, or an argument, makes of our queues: what is deleted, set aside unread or held up. Pure.

A policy is not told by AMQP, only by the management API. An argument is, if a queue is declared again.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

_HOLD_LIMIT = 900.0  # seconds, by default; it is cut to half of a consumer timeout
_ADVICE = "Let its pattern leave these queues out, or give them a policy of their own with a higher priority."


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """What holds for one queue."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    definition: Mapping[str, Any] = field(default_factory=dict)
    """The effective policy: the user's, with the operator's merged in."""
    policy: str = ""
    """The name of the policy, or of both."""

    @property
    def holds_letters(self) -> bool:
        """Whether it is a dead-letter queue."""
        return self.name.endswith(".dlq")

    @property
    def moves_what_it_drops(self) -> bool:
        """Whether what is dropped goes to another exchange."""
        return bool(self.definition.get("dead-letter-exchange") or self.arguments.get("x-dead-letter-exchange"))

    def value(self, key: str) -> Any:
        """What holds, of a policy's key and the argument of that name: of two numbers the lower one."""
        found = [each for each in (self.definition.get(key), self.arguments.get(f"x-{key}")) if each is not None]
        if key == "delivery-limit":
            found = [each for each in found if isinstance(each, int) and each >= 0]
        return min(found) if found and all(isinstance(each, int) for each in found) else next(iter(found), None)

    def cause(self, key: str) -> str:
        """Where that comes from."""
        if key in self.definition and self.value(key) == self.definition[key]:
            return f"{key} of {self.policy or 'a policy'}"
        return f"argument x-{key}"

    @property
    def disorder(self) -> str:
        """Why the queue is not first in, first out, or may not be written to; empty if nothing here says so."""
        broken = [self.cause(key) for key in ("message-ttl", "max-priority") if self.value(key) is not None]
        lengths = [key for key in ("max-length", "max-length-bytes") if self.value(key) is not None]
        if lengths and _drops_oldest(self):
            broken.append(self.cause(lengths[0]))
        return ", ".join(broken)

    @property
    def delivery_limit(self) -> int | None:
        """Times that a message may be given back before the broker drops it; None if there is no limit."""
        limit = self.value("delivery-limit")
        return limit if isinstance(limit, int) else None


@dataclass(frozen=True, slots=True)
class Trouble:
    """What a policy or an argument breaks."""

    deletes: bool
    """Whether messages are gone for good."""
    sentence: str


def troubles(queues: Iterable[QueueLimits]) -> list[Trouble]:
    """A sentence for each promise that is broken: one for all queues for which it is broken in the same way."""
    found: dict[tuple[bool, str, str], list[str]] = {}
    for queue in queues:
        for key, meaning in _MEANINGS.items():
            value = queue.value(key)
            told = None if value is None else meaning(queue, value)
            if told is not None:
                deletes, what = told
                found.setdefault((deletes, what, queue.cause(key)), []).append(queue.name)
    return [
        Trouble(deletes, f"{_who(names)}: {what} ({cause}). {_ADVICE if 'argument' not in cause else ''}".rstrip())
        for (deletes, what, cause), names in sorted(found.items(), key=lambda each: not each[0][0])
    ]


Told = tuple[bool, str] | None


def _message_ttl(queue: QueueLimits, value: Any) -> Told:
    waited = f"what has waited for {_duration(value)}"
    return _dropped(queue, f"{waited} is", "broker_expired")


def _expires(queue: QueueLimits, value: Any) -> Told:
    unused = f"once nobody has used it for {_duration(value)}"
    return True, f"the queue is deleted, with everything in it, {unused}"


def _max_length(unit: str) -> Callable[[QueueLimits, Any], Told]:
    def told(queue: QueueLimits, value: Any) -> Told:
        if _drops_oldest(queue):
            return _dropped(queue, f"beyond {value:,} {unit} the oldest are", "broker_maxlen")
        if queue.holds_letters:
            return False, f"beyond {value:,} {unit} no dead letter is taken, and its record, and all behind it, waits"
        return False, f"beyond {value:,} {unit} publishing is refused, and what is published again comes twice"

    return told


def _delivery_limit(queue: QueueLimits, value: Any) -> Told:
    return _dropped(queue, f"what was given back more than {value} times is", "broker_delivery_limit")


def _single_active_consumer(queue: QueueLimits, value: Any) -> Told:
    if value is not True:
        return None
    if queue.holds_letters:
        return False, "`spindle dead-letters` gets nothing while somebody else consumes"
    return False, "of several replicas only one gets records"


def _max_priority(queue: QueueLimits, value: Any) -> Told:
    what = "a letter" if queue.holds_letters else "a record, also an older version,"
    return False, f"{what} with a higher priority overtakes others"


def _delayed_retry(queue: QueueLimits, value: Any) -> Told:
    if value == "disabled":
        return None
    least = queue.value("delayed-retry-min")
    waits = f"for {_duration(least)} or longer" if isinstance(least, int) else "for a while"
    if queue.holds_letters:
        return False, f"a letter that was held and given back can't be seen {waits}"
    return False, f"what is handed back waits {waits}, and a newer version of a record may come before it"


def _consumer_timeout(queue: QueueLimits, value: Any) -> Told:
    if not isinstance(value, int) or value / 1000 >= 2 * _HOLD_LIMIT:
        return None
    if queue.holds_letters:
        return False, f"a look at dead letters that takes longer than {_duration(value)} is cut off"
    return False, f"deliveries are taken back after {_duration(value)}: HOLD_LIMIT must be below half of that"


_MEANINGS: Mapping[str, Callable[[QueueLimits, Any], Told]] = {
    "message-ttl": _message_ttl,
    "expires": _expires,
    "max-length": _max_length("messages"),
    "max-length-bytes": _max_length("bytes"),
    "delivery-limit": _delivery_limit,
    "single-active-consumer": _single_active_consumer,
    "max-priority": _max_priority,
    "delayed-retry-type": _delayed_retry,
    "consumer-timeout": _consumer_timeout,
}


def _dropped(queue: QueueLimits, subject: str, reason: str) -> Told:
    if queue.moves_what_it_drops and not queue.holds_letters:
        return False, f"{subject} set aside unread, as {reason}"
    if queue.moves_what_it_drops:
        return False, f"{subject} moved away from the dead letters"
    return True, f"{subject} deleted for good"


def _drops_oldest(queue: QueueLimits) -> bool:
    return queue.value("overflow") in (None, "drop-head")


def _who(names: list[str]) -> str:
    if len(names) == 1:
        return names[0]
    return f"{names[0]} and {len(names) - 1} more"


def _duration(milliseconds: Any) -> str:
    if not isinstance(milliseconds, int):
        return str(milliseconds)
    seconds = milliseconds / 1000
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"
