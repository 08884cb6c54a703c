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
    """What one arm did between its watch's start and stop: how many `records` were committed in that span.

    `figures` is what the arm has measured itself, by name (a latency, a batch's fill).
    """

    records: int
    figures: Mapping[str, float] = field(default_factory=dict)


class Watch(Protocol):
    """The measured span of one run: wall time, and CPU time of the servers and of the arm's `processes()`."""

    def start(self) -> None:
        """The span begins; what a process has used so far (imports, connecting, a cold cache) is not counted."""

    def stop(self) -> None:
        """The last record is committed. The arm's processes must still run: their CPU time and memory are read now."""


class Arm(Protocol):
    """One way to carry the records. `prepare` and `check` are not measured."""

    @property
    def name(self) -> str:
        """Stable, lower_case: a key of the result."""

    async def prepare(self) -> None:
        """Bring store and queue into the state that the arm starts from."""

    async def run(self, watch: Watch) -> Run:
        """Carry the records: start the watch once, stop it once, return how many records lay between."""

    async def check(self) -> None:
        """Compare the store with what was published. Raises: WrongStore."""

    def processes(self) -> Mapping[str, int]:
        """The ids of the arm's own running processes by role (`consumer`, `consumer_2`, `extractor` …), as of now."""

    async def end(self) -> None:
        """Stop what the arm has started; called after every run, also after a failure."""
