"""What a store knows of a load: what was announced, what its records came to, and what a check has found.

Each store keeps its own book, so that a restored backup brings the book that belongs to it. What a process counts is
shown and never evidence: a load is complete because a check has compared it with its manifest.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

UNKNOWN = ""
"""The load of records whose producer names none."""


_DEAD_LETTER: Final = "dead_letter:"


def of_dead_letter(reason: str) -> str:
    """The result of an error that is a dead letter, such as `dead_letter:refused`."""
    return _DEAD_LETTER + reason


class State(StrEnum):
    """How far a load of a kind is."""

    RUNNING = "running"
    """Records have come, and no word that all of them were published."""
    ANNOUNCED = "announced"
    """The producer says that all were published; nobody has compared."""
    COMPLETE = "complete"
    INCOMPLETE = "incomplete"
    FAILED = "failed"
    """A check could not be done; `reason` says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """A producer says that all of a load's records of a kind have been published. It may be late, doubled or lost."""

    load: str
    kind: str
    published: int | None = None
    skipped: int | None = None
    file: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What a check found in one store: numbers of ids. `state` is COMPLETE, INCOMPLETE, or FAILED with a `reason`."""

    load: str
    kind: str
    state: State
    missing: int = 0
    different: int = 0
    dead: int = 0
    newer: int = 0
    gone: int = 0
    manifest: str | None = None
    """The digest of the manifest that it was compared with."""
    published: int | None = None
    """What the manifest says; None leaves what is known."""
    skipped: int | None = None
    file: str | None = None
    file_sha256: str | None = None
    seconds: float | None = None
    """How long it took."""
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    """What a removal took out of one store, or an undo (a negative number) brought back."""

    load: str
    kind: str
    removed: int
    seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """What the records of a load came to in one store, over all processes.

    `new` and `changed` are exact: they are counted in the transactions that write. The others are counted at least
    once: a process that is killed may lose the last seconds of them, or have some counted twice.
    """

    began_at: datetime | None = None
    at: datetime | None = None
    """When the numbers last grew."""
    batches: int = 0
    new: int = 0
    changed: int = 0
    unchanged: int = 0
    stale: int = 0
    superseded: int = 0
    dead_lettered: int = 0
    last_error: str | None = None
    last_error_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadErrors:
    """The errors of one result that the records of a load and kind met in one store, as each process saw them.

    `result`: how a transaction ended (`conflict`, `unavailable`, `too_large`, `refused`), or `of_dead_letter`.
    What has been written is not lost, and may be counted twice; what waits is lost with the process: of an
    outage, all since it began.
    """

    load: str
    kind: str
    result: str
    errors: int
    last_error: str
    """Class and code of the last one, never its text."""
    first_at: datetime
    last_at: datetime

    @property
    def reason(self) -> str:
        """Why they became dead letters; empty if they are transactions."""
        return self.result.removeprefix(_DEAD_LETTER) if self.result.startswith(_DEAD_LETTER) else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """A load of one kind, as a store's ledger has it."""

    load: str
    kind: str
    state: State
    announced_at: datetime | None = None
    published: int | None = None
    skipped: int | None = None
    manifest: str | None = None
    file: str | None = None
    file_sha256: str | None = None
    checked_at: datetime | None = None
    missing: int | None = None
    different: int | None = None
    dead: int | None = None
    newer: int | None = None
    gone: int | None = None
    removed: int | None = None
    removed_at: datetime | None = None
    reason: str | None = None
    totals: Totals = Totals()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """An operator has stopped a kind of one service: who, when and why."""

    kind: str
    since: datetime
    by: str
    reason: str = ""
