"""What a transaction of ours does inside a store at one moment, in words that every store shares."""

from dataclasses import dataclass
from enum import StrEnum


class Wait(StrEnum):
    """What kind of thing a transaction waits for."""

    COMPUTES = "computes"
    """It waits for nothing: it has a core, or waits for one."""
    DISK = "disk"
    LOCKS = "locks"
    CLIENT = "client"
    """For the next statement: what lies between is the network, and our own process."""
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Waiting:
    """One transaction, as it was seen. `event`: the store's own name for it."""

    wait: Wait
    event: str
    checkpoint: bool | None = None
    """Whether the store wrote a checkpoint meanwhile; None if that can't be seen."""
