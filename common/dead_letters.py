"""What is set aside when a record can never be stored: the letter and its headers.

Publishing is the broker's side (`common/rabbitmq/publishing/dead_letters.py`); what a letter says is decided here.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from common.delivery import Delivery
from common.errors import Reason, Refusal


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A delivery that can never be stored, and why."""

    delivery: Delivery
    kind: str
    record_id: str
    """Empty if none could be read."""
    reason: Reason
    refusal: Refusal


class DeadLetters(Protocol):
    """Where dead letters go. Each original is settled when its own letter is confirmed, not before."""

    def put(self, letters: Iterable[DeadLetter]) -> None:
        """Take letters for publishing. Those whose delivery expires before the confirm are dropped: they come again."""

    async def drained(self) -> None:
        """Wait until nothing is unconfirmed."""
