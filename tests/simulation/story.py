"""A story: a setup, and the steps of what happens. A seed draws one; a shorter one is the same with steps left out."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from common.backoff import DEFAULT, Backoff, Strategy
from tests.simulation.messages import Fate, Message
from tests.simulation.queues import Version

KINDS = ("artists", "labels")


@dataclass(frozen=True, slots=True)
class Setup:
    """What stays the same for the length of a story."""

    version: Version
    kinds: int
    replicas: int
    is_fast: bool
    size: int
    writers: int
    prefetch: int
    max_bytes: int
    source_max_bytes: int
    hold_limit: float
    latency: float
    flood: int
    share_slots: bool
    """Whether kinds take turns, as they do where more transactions at a time would only get in each other's way."""
    target: float | None
    """Seconds that writing a batch may take, where the size adapts."""
    backoff: Backoff = DEFAULT
    """How long the runtime waits before it tries again."""

    @property
    def longest_wait(self) -> float:
        """Seconds from one try to the next, at the most."""
        return self.backoff.base if self.backoff.strategy is Strategy.FIXED else self.backoff.cap

    @property
    def is_ordered(self) -> bool:
        """Whether messages without a load, or of one load, come in their order, also when they come again.

        They do not where another process takes some; nor where a source that has too much in hand begins again with a
        smaller prefetch: what it had comes after what the broker has had back and not given out again.
        """
        return self.replicas == 1 and not self.is_narrow

    @property
    def is_narrow(self) -> bool:
        """Whether it is the bytes that limit how much a source has in hand."""
        return self.source_max_bytes <= self.max_bytes * 4


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happens."""

    name: str
    values: tuple[Any, ...] = ()

    @property
    def faults(self) -> Iterator[str]:
        """What goes wrong because of it, by kind."""
        if self.name == "publish":
            yield from (f"message {message.fate}" for message in self.values[0] if message.is_bad)
        elif self.name == "store":
            yield from (f"store {name}" + (f" {how}" if isinstance(how, str) else "") for name, how in _odd(self))
        elif self.name not in ("wait", "unblock", "resume"):
            yield self.name.replace("_", " ")

    def __str__(self) -> str:
        if self.name == "publish":
            return "publish " + " ".join(map(_brief, self.values[0]))
        return " ".join([self.name.replace("_", " "), *map(str, self.values)])


@dataclass(frozen=True, slots=True)
class Story:
    """What happens, from the begin to where everything is well again."""

    seed: int
    scenario: str
    setup: Setup
    steps: tuple[Step, ...]


def _odd(step: Step) -> Iterable[tuple[str, Any]]:
    odd: dict[str, Any] = step.values[0]
    return odd.items()


def _brief(message: Message) -> str:
    load = f"/{message.load[4:6]}" if message.load else ""
    fate = "" if message.fate is Fate.STORED else f"({message.fate})"
    return f"{message.number}:{message.kind[0]}{message.id}{load}{fate}"
