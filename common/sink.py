"""Where batches are written: the contract that every store's sink passes.

`tests/contract/sink.py` is the contract as a test suite; the in-memory fake and the real sinks run it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, TypeVar

from common.ledger import Ledger
from common.outcomes import Outcomes


class Record(Protocol):
    """What the runtime must know of a record; the rest belongs to the service."""

    @property
    def id(self) -> str:
        """The record's id, unique within its kind, never empty."""

    @property
    def version(self) -> str | None:
        """The load it came with, which orders versions of one id; None if the producer sends none."""


R = TypeVar("R", bound=Record)
R_contra = TypeVar("R_contra", bound=Record, contravariant=True)


class Result(StrEnum):
    """How a transaction of a sink ended."""

    STORED = "stored"
    REFUSED = "refused"
    TOO_LARGE = "too_large"
    CONFLICT = "conflict"
    UNAVAILABLE = "unavailable"


class BreakerState(StrEnum):
    """What the breaker of a store lets through."""

    CLOSED = "closed"
    """Every write."""
    OPEN = "open"
    """None: one task probes."""
    HALF_OPEN = "half-open"
    """One write, which shows whether the store takes any."""


@dataclass(frozen=True, slots=True)
class StoreState:
    """Whether a store can be written to, and if not, what is the matter: sentences without secrets."""

    name: str
    available: bool
    detail: str = ""
    alarm: str | None = None
    """What a person must do."""
    since: float | None = None
    """The loop's time at which the hold began."""


class Sink(Protocol[R_contra]):
    """One kind's place in a store. Ids within one call are unique: the batch has seen to that."""

    @property
    def ledger(self) -> Ledger:
        """The kind's part of the store's ledger."""

    async def write(self, records: Sequence[R_contra]) -> Outcomes:
        """Store every record or none, in one transaction. Storing a record twice changes nothing.

        If it changes the store, the ledger has the batch's numbers with it, or none of both; if not, they wait.

        Raises: RecordsRefused, BatchTooLarge, WriteConflict (try again), StoreUnavailable.
        """

    async def rewrite(self, record: R_contra) -> bool:
        """Write a stored record over itself and commit: the evidence that the store takes this kind's writes.

        Returns: False if the store no longer holds the record in this version, so that nothing was written.
        Raises: as `write`.
        """

    async def probe(self, record: R_contra) -> None:
        """Write a record for real, then roll back: whether the store would take it now.

        Raises: as `write`.
        """
