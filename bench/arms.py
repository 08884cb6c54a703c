"""What a bench compares: an arm is one way to carry the same records, measured in the same rounds as the others.

A round runs every arm once, one after the other, so that a machine that is slow for a while is slow for all of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


class WrongStore(Exception):
    """After an arm the store does not hold what was published; the text says what differs."""


@dataclass(frozen=True, slots=True)
class Run:
    """What one arm did in one round: `records` in `seconds` of wall time.

    `processes` are the process ids whose CPU time and memory belong to the arm's client side, by role; those of the
    servers are known to the bench. `figures` is what the arm has measured itself, by name.
    """

    records: int
    seconds: float
    figures: Mapping[str, float] = field(default_factory=dict)


class Arm(Protocol):
    """One way to carry the records. `prepare` and `check` are not measured."""

    name: str
    """Stable, lower_case: a key of the result."""

    async def prepare(self) -> None:
        """Bring store and queue into the state that the arm starts from."""

    async def run(self) -> Run:
        """Carry the records and return once the last one is committed."""

    async def check(self) -> None:
        """Compare the store with what was published. Raises: WrongStore."""

    def processes(self) -> Mapping[str, int]:
        """The ids of the arm's own running processes by role (`consumer`, `extractor` …); asked before and after `run`."""

    async def end(self) -> None:
        """Stop what the arm has started; called also after a failure."""
