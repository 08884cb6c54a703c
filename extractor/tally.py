"""What became of one kind's records while they were read: counts, what was skipped, how far it has come, and what was
waited for.
"""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum

from extractor.reading import Skip, SkipReason
from extractor.run_delay import run_delay

EXAMPLES = 20
"""How many skipped records a report names."""


class Awaited(StrEnum):
    """What a publishing process waits for: a closed set, as the report has it."""

    BROKER = "broker"
    """RabbitMQ: that it takes messages, and confirms them."""
    ROOM = "room"
    """The services: that fewer messages wait in their queues."""
    PARSERS = "parsers"
    CORE = "core"
    """Somebody else's computing: it was ready, and no core was free (`run_delay`). Known of a whole process only."""


@dataclass(slots=True)
class Tally:
    """Filled while messages are drawn."""

    records: int = 0
    published: int = 0
    """Confirmed by the broker; of a check, all that were read."""
    resumed: int = 0
    """Of the published: confirmed before, to a run that was interrupted."""
    unchanged: int = 0
    """Not published, because the load before had the same bytes; of `spindle load`, because the stores have them."""
    known: int = 0
    """Listed without being parsed, because another load had the same bytes."""
    body_bytes: int = 0
    sent: dict[str, int] = field(default_factory=dict)
    """Messages by service, where each service's queue is given what is its own; all confirmed once the work is done."""
    refusal: str = ""
    """Why there is no manifest of it, although one was asked for."""
    skipped: Counter[SkipReason] = field(default_factory=Counter)
    examples: list[Skip] = field(default_factory=list)
    done: int = 0
    """Of `total`: bytes of the dump file as it lies on disk, or records of a synthetic load."""
    total: int = 0
    parsers: int = 0
    """Processes that parse, if 1 the one that publishes; 0: nothing is parsed, the records are made up."""
    waited: dict[str, float] = field(default_factory=dict)
    """Seconds, by what was `Awaited`."""

    @contextmanager
    def waiting(self, what: Awaited) -> Iterator[None]:
        """Count the time of a block, but for what this process computes in it, or would if it had a core: to hear a
        confirm is work.
        """
        began, computed, delayed = time.monotonic(), time.process_time(), run_delay()
        try:
            yield
        finally:
            idle = time.monotonic() - began - (time.process_time() - computed) - (run_delay() - delayed)
            self.waited[what] = self.waited.get(what, 0.0) + max(0.0, idle)

    def skip(self, skip: Skip) -> None:
        """Count a record that was passed over, and remember the first ones."""
        self.skipped[skip.reason] += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append(skip)

    def skipped_by_reason(self) -> dict[str, int]:
        """How many records were passed over, as reports have it."""
        return {str(reason): count for reason, count in self.skipped.items()}
