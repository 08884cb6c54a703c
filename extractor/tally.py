"""What became of one kind's records while they were read: counts, what was skipped, and how far it has come."""

from collections import Counter
from dataclasses import dataclass, field

from extractor.reading import Skip, SkipReason

EXAMPLES = 20
"""How many skipped records a report names."""


@dataclass(slots=True)
class Tally:
    """Filled while messages are drawn."""

    records: int = 0
    published: int = 0
    """Confirmed by the broker; of a check, all that were read."""
    resumed: int = 0
    """Of the published: confirmed before, to a run that was interrupted."""
    unchanged: int = 0
    """Not published, because the load before had the same bytes."""
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

    def skip(self, skip: Skip) -> None:
        """Count a record that was passed over, and remember the first ones."""
        self.skipped[skip.reason] += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append(skip)

    def skipped_by_reason(self) -> dict[str, int]:
        """How many records were passed over, as reports have it."""
        return {str(reason): count for reason, count in self.skipped.items()}
