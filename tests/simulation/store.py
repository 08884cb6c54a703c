"""The model store: tables that keep the rules of the real ones, and all that can be the matter with a database."""

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from common.errors import BatchTooLarge, RecordsRefused, Refusal, SinkError, StoreUnavailable, WriteConflict
from common.loads import Pause
from common.outcomes import Outcome, Outcomes
from common.progress import Note, Numbers, count, numbers_of
from tests.simulation.messages import REFUSED, Fate, Published, Record

if TYPE_CHECKING:
    from tests.simulation.checks import Checks

T = TypeVar("T")

REFUSAL = Refusal("ModelRefusal", "M0001", "no")
ALARM = "the model store needs a person"


@dataclass(slots=True)
class Mood:
    """What is the matter with the store; the defaults are: nothing."""

    away: str = ""
    """`down`, `alarm` (a person is needed), `readonly` (what needs no write is answered), `hanging`."""
    conflicts: float = 0.0
    """Of the writes, how many meet another writer."""
    mute: float = 0.0
    """Of the commits, how many are not answered."""
    latency: float = 0.0
    """Seconds that a write takes at the most."""
    most: int = 0
    """Records that it takes at once; 0: any number."""
    refusing: str = ""
    """Refuses all writes: `certain`, as if it were the records' fault; `odd`, for an unknown reason."""


class ModelStore:
    """One database, shared by all processes. It knows which records it may refuse: those that were published as bad."""

    def __init__(self, rng: random.Random, published: Published, checks: "Checks") -> None:
        self.rng, self._published, self._checks = rng, published, checks
        self.mood = Mood()
        self.tables: dict[tuple[str, str], Record] = {}
        self.committed: set[tuple[str, bytes]] = set()
        self.best: dict[tuple[str, str], tuple[str, int]] = {}
        """Per kind and id, the highest rank that was ever committed."""
        self.wrongly_refused: set[tuple[str, bytes]] = set()
        self.late: set[tuple[str, bytes]] = set()
        """Committed when their client had gone already."""
        self.commits = 0
        self.noted: dict[str, Numbers] = {}
        """What the ledger says, by kind."""
        self.announced: set[tuple[str, str]] = set()
        self.paused: dict[str, Pause] = {}
        """By kind, what an operator has paused."""

    @property
    def is_well(self) -> bool:
        """Whether nothing is the matter with it."""
        return self.mood == Mood()

    async def transact(self, kind: str, records: Sequence[Record], act: Callable[[], T], *, forced: bool = False) -> T:
        """Run one transaction: late, or never, or without an answer. `forced`: it writes, whatever is stored."""
        mood, is_done = self.mood, False
        try:
            if mood.away == "hanging":
                await asyncio.sleep(20.0)
            await asyncio.sleep(self.rng.uniform(0.0, mood.latency) if mood.latency else 0.0)
            if (error := self._error(kind, records, forced)) is not None:
                raise error
            result, is_done = act(), True
            if mood.latency:
                await asyncio.sleep(self.rng.uniform(0.0, mood.latency))
        except (StoreUnavailable, WriteConflict):
            if mood.away or mood.conflicts == 1.0:
                self._checks.failed()
            raise
        except asyncio.CancelledError:
            if not is_done and self._error(kind, records, forced) is None:
                self._end_alone(kind, records, act)
            raise
        if self.mood.mute and self.rng.random() < self.mood.mute:
            raise StoreUnavailable("the answer to the commit is lost")
        return result

    def _end_alone(self, kind: str, records: Sequence[Record], act: Callable[[], T]) -> None:
        """End a transaction whose client has gone: the server may have all it needs for the commit, now or soon."""
        how = self.rng.random()
        if how < 0.3:
            act()
        elif how < 0.6:
            self.late |= {(kind, record.body) for record in records}
            asyncio.get_running_loop().call_later(self.rng.uniform(0.0, 3.0), act)

    def note(self, kind: str, note: Note) -> None:
        """Add numbers to the ledger."""
        for numbers in note.by_load.values():
            self.noted.setdefault(kind, Numbers()).add(numbers)

    def commit(self, kind: str, records: Sequence[Record], note: Note) -> tuple[Outcomes, dict[str, Numbers]]:
        """Store as the contract says; if anything was written, with its numbers and those of the note.

        Returns: what became of the records, in all and by load.
        """
        found = []
        for record in records:
            found.append(self._store(kind, record))
            message = self._published.of(kind, record.body)
            self.committed.add((kind, record.body))
            key = kind, record.id
            self.best[key] = max(self.best.get(key, ("", -1)), message.rank)
        self.commits += 1
        outcomes = count(found)
        numbers = numbers_of(records, found, outcomes)
        if outcomes.written:
            self.note(kind, note)
            self.note(kind, Note(note.writer, numbers))
        return outcomes, numbers

    def stored(self, kind: str, record: Record) -> bool:
        """Whether the store holds this record in this version."""
        stored = self.tables.get((kind, record.id))
        return stored is not None and stored.hash == record.hash and (bool(record.hash) or stored == record)

    def _store(self, kind: str, record: Record) -> Outcome:
        stored = self.tables.get((kind, record.id))
        if stored is not None and record.hash and stored.hash == record.hash:
            return Outcome.UNCHANGED
        if stored is not None and record.version and stored.version and record.version < stored.version:
            return Outcome.STALE
        self.tables[kind, record.id] = record
        return Outcome.CHANGED if stored is not None else Outcome.NEW

    # What it says instead

    def _error(self, kind: str, records: Sequence[Record], forced: bool) -> SinkError | None:
        mood = self.mood
        is_reading = (
            not forced and bool(mood.away or mood.refusing) and all(self.stored(kind, each) for each in records)
        )
        if mood.away and not (mood.away == "readonly" and is_reading):
            return StoreUnavailable(mood.away, alarm=None if mood.away in ("down", "hanging") else ALARM)
        if mood.conflicts and self.rng.random() < mood.conflicts:
            return WriteConflict("deadlock")
        if mood.most and len(records) > mood.most:
            return BatchTooLarge(REFUSAL)
        if mood.refusing == "odd" and not is_reading:
            return RecordsRefused(REFUSAL, positions=None, certain=False)
        if mood.refusing == "certain":
            self.wrongly_refused |= {(kind, record.body) for record in records}
            return RecordsRefused(REFUSAL, positions=None, certain=True)
        return self._refusal(kind, records)

    def _refusal(self, kind: str, records: Sequence[Record]) -> SinkError | None:
        fates = [self._published.of(kind, record.body).fate for record in records]
        bad = [position for position, fate in enumerate(fates) if fate in REFUSED]
        if not bad:
            return None
        fate = fates[bad[0]]
        if fate is Fate.HUGE:
            return BatchTooLarge(REFUSAL)
        positions = bad[:1] if fate is Fate.NAMED else None
        return RecordsRefused(REFUSAL, positions=positions, certain=fate is not Fate.UNKNOWN)
