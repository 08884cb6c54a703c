"""What may become of a dead letter, and who decides."""

from collections.abc import Callable
from dataclasses import dataclass

from common.delivery import Properties
from common.rabbitmq.ops.queue_reader import StoredLetter


@dataclass(frozen=True, slots=True)
class Keep:
    """The letter stays."""


@dataclass(frozen=True, slots=True)
class Drop:
    """The letter goes, for good."""


@dataclass(frozen=True, slots=True)
class Send:
    """The letter goes to another queue, with these properties, and with another body if one is given; `done` is told
    whether that queue took it.

    If it did not, the letter stays.
    """

    queue: str
    properties: Properties
    done: Callable[[bool], None]
    body: bytes | None = None


Fate = Keep | Drop | Send
Judge = Callable[[StoredLetter], Fate]
OnDone = Callable[[int, int], None]
"""Told how many letters are done, of how many."""
