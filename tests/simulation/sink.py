"""The store as one process has it open: every transaction is told to the checks, and counted as the process's own."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from common.envelope import Projection
from common.errors import RecordsRefused, SinkError
from common.ledger import View
from common.loads import Announcement
from common.outcomes import Outcomes
from common.progress import Progress
from tests.simulation.messages import Record, project
from tests.simulation.store import ModelStore

if TYPE_CHECKING:
    from tests.simulation.process import Life

T = TypeVar("T")


class StoreView:
    """The store as one process has it open."""

    name = "model"
    pool_size = 8
    address = ""

    def __init__(self, life: "Life") -> None:
        self._life = life
        writers = life.settings.writers
        self._slots: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(writers))

    def pool_in_use(self) -> int:
        return 0

    def slots(self, kind: str) -> asyncio.Semaphore:
        return self._slots["all" if self._life.world.story.setup.share_slots else kind]

    def sink(self, kind: str) -> "ModelSink":
        return ModelSink(self._life, kind)

    def projection(self, kind: str) -> Projection[Record]:
        return project


class ModelLedger:
    """One kind's part of the store's ledger, for one process."""

    takes_turns = True

    def __init__(self, sink: "ModelSink", store: ModelStore, kind: str) -> None:
        self._sink, self._store, self._kind = sink, store, kind
        self.progress = Progress()
        self.noted_errors = self._taken = 0

    async def note(self) -> None:
        with self.progress.taking({}) as note:
            await self._sink.transact([], lambda: self._store.note(self._kind, note))
        if self.progress.has_errors:
            with self.progress.taking_errors() as errors:
                self._taken = sum(met.errors for met in errors.values())
                try:
                    await self._sink.transact([], partial(self._note_errors, self._taken))
                finally:
                    self._taken = 0

    def _note_errors(self, errors: int) -> None:
        self.noted_errors += errors

    @property
    def errors(self) -> int:
        """How many the store or this process knows of; some may count twice."""
        waiting = sum(met.errors for met in self.progress._errors.values())
        return self.noted_errors + self._taken + waiting

    async def announce(self, announcement: Announcement) -> None:
        key = self._kind, announcement.load
        await self._sink.transact([], lambda: self._store.announced.add(key))

    async def look(self) -> View:
        return await self._sink.transact([], lambda: View(pause=self._store.paused.get(self._kind)))


class ModelSink:
    """One kind's place in the store, for one process."""

    def __init__(self, life: "Life", kind: str) -> None:
        self._life, self._kind = life, kind
        self._store: ModelStore = life.world.store
        self.ledger = ModelLedger(self, self._store, kind)
        life.ledgers.append(self.ledger)

    async def write(self, records: Sequence[Record]) -> Outcomes:
        with self._life.checks.batch(self._life, self._kind, records):
            try:
                return await self._write(records)
            except RecordsRefused:
                self._life.world.note_refused(self._life)
                raise

    async def _write(self, records: Sequence[Record]) -> Outcomes:
        """Store, with the numbers of all that wait; only the store knows what the batch itself will come to."""
        progress = self.ledger.progress
        with progress.taking({}) as note:
            outcomes, numbers = await self._transact(records, lambda: self._store.commit(self._kind, records, note))
        if not outcomes.written:
            progress.add(note.by_load)
            progress.add(numbers)
        return outcomes

    async def rewrite(self, record: Record) -> bool:
        return await self._transact([record], lambda: self._store.stored(self._kind, record), forced=True)

    async def probe(self, record: Record) -> None:
        await self._transact([record], lambda: None, forced=True)

    async def transact(self, records: Sequence[Record], act: Callable[[], T]) -> T:
        """Run a transaction on the ledger."""
        return await self._store.transact(self._kind, records, act)

    async def _transact(self, records: Sequence[Record], act: Callable[[], T], *, forced: bool = False) -> T:
        self._life.transactions += 1
        try:
            answer = await self._store.transact(self._kind, records, act, forced=forced)
        except SinkError:
            self._life.failed += 1
            raise
        finally:
            self._life.transactions -= 1
        self._life.written += 1
        return answer
