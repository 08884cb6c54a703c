"""How long to wait before trying again: one rule for the broker and the stores, which the settings `RETRY_*` choose.

What failed for which reason waits by this rule, and what by one of its own, is the table in docs/failures.md.
"""

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum


class Strategy(StrEnum):
    """How the ceiling of the waiting times grows, from the base to the cap."""

    EXPONENTIAL = "exponential"
    """It doubles each time."""
    LINEAR = "linear"
    """It grows by the base each time."""
    FIXED = "fixed"
    """It stays the base."""


class Jitter(StrEnum):
    """How much of the ceiling is waited."""

    FULL = "full"
    """Anything from 0 to the ceiling, so that a dozen replicas that lost one server do not return in step."""
    NONE = "none"
    """All of it."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """The waiting times of an outage, from one try to the next. `base` and `cap` are seconds."""

    strategy: Strategy = Strategy.EXPONENTIAL
    jitter: Jitter = Jitter.FULL
    base: float = 0.1
    cap: float = 2.0

    def __str__(self) -> str:
        end = "" if self.strategy is Strategy.FIXED else f" to {self.cap:g}"
        jitter = "no" if self.jitter is Jitter.NONE else self.jitter
        return f"{self.strategy} {self.base:g}{end} s, {jitter} jitter"

    def ceilings(self) -> Iterator[float]:
        """The longest that each wait of one outage may be, in seconds; endless."""
        match self.strategy:
            case Strategy.FIXED:
                yield from itertools.repeat(self.base)
            case Strategy.LINEAR:
                yield from (min(self.base * times, self.cap) for times in itertools.count(1))
            case Strategy.EXPONENTIAL:
                ceiling = self.base
                while True:
                    yield ceiling
                    ceiling = min(ceiling * 2, self.cap)

    def delays(self, rng: random.Random | None = None) -> Iterator[float]:
        """The waits of one outage, in seconds; endless. `rng`: the chance that jitter takes, if not everybody's."""
        if self.jitter is Jitter.NONE:
            return self.ceilings()
        uniform = rng.uniform if rng else random.uniform
        return (uniform(0.0, ceiling) for ceiling in self.ceilings())


DEFAULT = Backoff()
"""0.1 s doubling to 2 s, with full jitter."""
