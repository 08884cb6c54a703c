"""What became of records."""

from enum import StrEnum

import msgspec


class Outcome(StrEnum):
    """What became of a record; the outcomes of a kind sum to what was published."""

    NEW = "new"
    CHANGED = "changed"
    UNCHANGED = "unchanged"
    STALE = "stale"
    SUPERSEDED = "superseded"
    DEAD_LETTERED = "dead_lettered"


class Outcomes(msgspec.Struct, frozen=True):
    """How many records of a batch came to which end; together, all of them."""

    new: int = 0
    changed: int = 0
    unchanged: int = 0
    stale: int = 0

    def __add__(self, other: "Outcomes") -> "Outcomes":
        return Outcomes(
            self.new + other.new,
            self.changed + other.changed,
            self.unchanged + other.unchanged,
            self.stale + other.stale,
        )

    @property
    def written(self) -> int:
        """How many the store really wrote: the evidence that it can."""
        return self.new + self.changed

    @property
    def total(self) -> int:
        """How many records this speaks of."""
        return self.new + self.changed + self.unchanged + self.stale
