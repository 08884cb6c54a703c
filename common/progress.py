"""What a kind's records came to, and met, and its store's ledger does not hold yet.

A batch that writes adds its numbers in its own transaction and takes along those that wait here; a batch of unchanged
records, read-only, leaves its numbers here. Errors wait for a transaction of the ledger's own: no batch gets larger by
them. Pure.
"""

import heapq
import os
import secrets
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

import msgspec

from common.loads import UNKNOWN
from common.outcomes import Outcome, Outcomes

NOBODY: Final = -1
"""No writer's number: for a note that is rolled back."""

NUMBERS: Final = ("batches", "new", "changed", "unchanged", "stale", "superseded", "dead_lettered")
"""What is counted of a load, in the order of every store's statement."""


class Versioned(Protocol):
    """What must be known of a record to count it."""

    @property
    def version(self) -> str | None:
        """The load that it came with."""


class Numbers(msgspec.Struct):
    """What some records of one load came to. `last_error`: an error's class and code, never its text."""

    batches: int = 0
    new: int = 0
    changed: int = 0
    unchanged: int = 0
    stale: int = 0
    superseded: int = 0
    dead_lettered: int = 0
    last_error: str | None = None

    def add(self, other: "Numbers") -> None:
        """Add later numbers to these."""
        for name in NUMBERS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.last_error = other.last_error or self.last_error


class Errors(msgspec.Struct):
    """The errors of one result that a load's records met in this process. `last_error`: class and code, never a text.

    The times are this process's: what is counted in an outage is written after it.
    """

    errors: int
    last_error: str
    first_at: datetime
    last_at: datetime

    def add(self, other: "Errors") -> None:
        """Add later ones to these."""
        self.errors += other.errors
        self.last_error, self.last_at = other.last_error, other.last_at


@dataclass(frozen=True, slots=True)
class Note:
    """What one transaction adds to the ledger. `writer`: no other transaction of this process has the same now."""

    writer: int
    by_load: Mapping[str, Numbers]


class Progress:
    """One kind's numbers in one process, on their way to its store."""

    def __init__(self) -> None:
        self._waiting: dict[str, Numbers] = {}
        self._errors: dict[tuple[str, str], Errors] = {}  # as many as loads and results, however many errors
        self._free: list[int] = []
        self._writers = 0

    @property
    def waits(self) -> bool:
        """Whether there is something that the store does not hold."""
        return self.has_numbers or self.has_errors

    @property
    def has_numbers(self) -> bool:
        """Whether numbers wait."""
        return bool(self._waiting)

    @property
    def has_errors(self) -> bool:
        """Whether errors wait."""
        return bool(self._errors)

    def add(self, by_load: Mapping[str, Numbers]) -> None:
        """Keep numbers for the next transaction that takes some along."""
        for load, numbers in by_load.items():
            if (known := self._waiting.get(load)) is None:
                known = self._waiting[load] = Numbers()
            known.add(numbers)

    def count_error(self, load: str, result: str, what: str, *, at: datetime) -> None:
        """Count an error of a load. `result`: as `LoadErrors` has it; `what`: class and code."""
        _add(self._errors, (load, str(result)), Errors(1, what, at, at))

    @contextmanager
    def taking(self, by_load: Mapping[str, Numbers]) -> Iterator[Note]:
        """What a transaction writes: its own numbers and all that wait. The body commits; if it raises, those that
        waited wait again.

        Its own do not: either they were committed with the data, or the batch is written again. Those that waited may
        so be counted twice, if the answer to a commit was lost.
        """
        waiting, self._waiting = self._waiting, {}
        writer = self._begin()
        try:
            yield Note(writer, _together(waiting, by_load) if waiting else by_load)
        except BaseException:
            waiting, later = self._waiting, waiting
            self._waiting = _together(later, waiting)
            raise
        finally:
            heapq.heappush(self._free, writer)

    @contextmanager
    def taking_errors(self) -> Iterator[Mapping[tuple[str, str], Errors]]:
        """The errors that wait, by load and result. The body commits; if it raises, they wait again."""
        taken, self._errors = self._errors, {}
        try:
            yield taken
        except BaseException:
            later, self._errors = self._errors, taken
            for key, each in later.items():
                _add(self._errors, key, each)
            raise

    def _begin(self) -> int:
        """Take the lowest number that is free: there are as many rows as there were ever transactions at a time."""
        if self._free:
            return heapq.heappop(self._free)
        self._writers += 1
        return self._writers - 1


def numbers_of(records: Sequence[Versioned], found: Sequence[Outcome], outcomes: Outcomes) -> dict[str, Numbers]:
    """What a batch came to, by load; `outcomes` counts what was `found` of the records, which almost always are of one
    load.
    """
    loads = {record.version for record in records}
    if len(loads) == 1:
        return {loads.pop() or UNKNOWN: _numbers(outcomes)}
    by_load: dict[str, list[Outcome]] = {}
    for record, outcome in zip(records, found, strict=True):
        by_load.setdefault(record.version or UNKNOWN, []).append(outcome)
    return {load: _numbers(count(each)) for load, each in by_load.items()}


def count(outcomes: Sequence[Outcome]) -> Outcomes:
    """Count a batch's outcomes."""
    return Outcomes(
        new=outcomes.count(Outcome.NEW),
        changed=outcomes.count(Outcome.CHANGED),
        unchanged=outcomes.count(Outcome.UNCHANGED),
        stale=outcomes.count(Outcome.STALE),
    )


def process_name() -> str:
    """A name that no other process has, nor this one's next life."""
    return f"{socket.gethostname()[:60]}-{os.getpid()}-{secrets.token_hex(2)}"


def _numbers(outcomes: Outcomes) -> Numbers:
    return Numbers(1, outcomes.new, outcomes.changed, outcomes.unchanged, outcomes.stale)


def _add(sums: dict[tuple[str, str], Errors], key: tuple[str, str], later: Errors) -> None:
    if (known := sums.get(key)) is None:
        sums[key] = later
    else:
        known.add(later)


def _together(first: Mapping[str, Numbers], second: Mapping[str, Numbers]) -> dict[str, Numbers]:
    sums: dict[str, Numbers] = {}
    for by_load in (first, second):
        for load, numbers in by_load.items():
            sums.setdefault(load, Numbers()).add(numbers)
    return sums
