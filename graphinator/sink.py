"""Write batches of one kind to the graph: one transaction, two statements, conditional on hash and version.

What needs work? Lock, look again and write. The first is an optimisation (of a batch of unchanged records it is all
that happens), the second has the guard: it decides under the records' locks.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from operator import attrgetter
from typing import Any, TypeVar

import structlog
from neo4j import AsyncTransaction
from neo4j.exceptions import DriverError, Neo4jError

from common.outcomes import Outcome, Outcomes
from common.progress import Numbers, count, numbers_of, process_name
from common.storing.lost_commits import WORK, LostCommits
from graphinator.classification import Meaning, Unpackable, classify, is_constraint_race, row_of
from graphinator.notes import GraphLedger
from graphinator.projection import GraphRecord, Unread, read
from graphinator.steps import Steps
from graphinator.transactions import Transactions

log = structlog.get_logger()

T = TypeVar("T")

_FROM_THE_STORE = (Neo4jError, DriverError, OSError, Unpackable)  # TimeoutError is an OSError


class GraphSink:
    """One kind's nodes and edges; passes the Sink contract."""

    def __init__(
        self, kind: str, transactions: Transactions, *, process: str = "", desk: asyncio.Semaphore | None = None
    ) -> None:
        self.ledger = GraphLedger(transactions, kind, process or process_name(), desk=desk)
        self._transactions = transactions
        self._steps = Steps(kind)
        self._doubts = LostCommits()
        self._said: set[str] = set()

    async def write(self, records: Sequence[Unread]) -> Outcomes:
        """Store every record or none, in one transaction.

        Raises: RecordsRefused, BatchTooLarge, WriteConflict, StoreUnavailable.
        """
        if not records:
            return Outcomes()
        # Sorted, so that two writers of the same records lock them in the same order and neither waits for the other.
        batch = sorted(records, key=attrgetter("id"))
        outcomes, is_noted = await self._transact(partial(self._store, batch), alone=len(batch) == 1)
        if not is_noted:
            self.ledger.progress.add(numbers_of(batch, outcomes, count(outcomes)))
        return count(self._doubts.settle(batch, outcomes))

    async def rewrite(self, record: Unread) -> bool:
        """Write a stored record over itself and commit.

        Returns: False if the store no longer holds the record in this version.
        Raises: as `write`.
        """
        return await self._transact(partial(self._overwrite, read(record)), alone=True)

    async def probe(self, record: Unread) -> None:
        """Write a record for real, whatever is stored, then roll back.

        Raises: as `write`.
        """
        await self._transact(partial(self._force, read(record), notes=self.ledger.trial()), alone=True)

    async def _transact(self, work: Callable[[AsyncTransaction], Awaitable[T]], *, alone: bool) -> T:
        """Run work in a transaction, and translate what the driver raises."""
        try:
            return await self._transactions.run(work)
        except _FROM_THE_STORE as error:
            self._say_what_is_foreign(error)
            if not (alone and is_constraint_race(error)):
                raise classify(error, alone=alone) from error
        # Once more: a race is over by now, and what is left is the record's.
        try:
            return await self._transactions.run(work)
        except _FROM_THE_STORE as error:
            raise classify(error, alone=alone, again=True) from error

    def _say_what_is_foreign(self, error: Exception) -> None:
        """Have a person look at what only doubt and evidence would otherwise decide; once is enough."""
        row = row_of(error)
        if row.meaning is Meaning.UNKNOWN and row.alarm and row.alarm not in self._said:
            self._said.add(row.alarm)
            log.error("Neo4j refuses records", alarm=row.alarm, code=getattr(error, "code", ""))

    async def _store(self, batch: Sequence[Unread], transaction: AsyncTransaction) -> tuple[list[Outcome], bool]:
        """Returns: what became of each, and whether the ledger has it."""
        outcomes = await self._steps.look_up(transaction, batch)
        positions = [position for position, outcome in enumerate(outcomes) if outcome in WORK]
        if not positions:
            return outcomes, False
        candidates = [read(batch[position]) for position in positions]
        with self.ledger.progress.taking(_without_candidates(batch, outcomes)) as note:
            notes = self.ledger.parameters(note, candidates)
            locked = await self._steps.store(transaction, candidates, notes=notes)
            await self._commit(transaction, candidates, locked)
        for position, outcome in zip(positions, locked, strict=True):
            outcomes[position] = outcome
        return outcomes, True

    async def _commit(
        self, transaction: AsyncTransaction, records: Sequence[GraphRecord], outcomes: Sequence[Outcome]
    ) -> None:
        # Before it is sent, whatever the answer will be: a server that was being stopped has been seen to commit and
        # then to answer DatabaseUnavailable. What was not committed does not look unchanged next time.
        self._doubts.remember(records, outcomes)
        await transaction.commit()

    async def _overwrite(self, record: GraphRecord, transaction: AsyncTransaction) -> bool:
        held = await self._steps.hold(transaction, record)
        if held is None:
            return False
        await self._force(held, transaction)
        await transaction.commit()
        return True

    async def _force(
        self, record: GraphRecord, transaction: AsyncTransaction, *, notes: Sequence[dict[str, Any]] = ()
    ) -> None:
        await self._steps.store(transaction, [record], force=True, notes=notes)


def _without_candidates(batch: Sequence[Unread], outcomes: Sequence[Outcome]) -> dict[str, Numbers]:
    """A batch's numbers without those that the server counts itself: what is new and changed is known under locks."""
    by_load = numbers_of(batch, outcomes, count(outcomes))
    for numbers in by_load.values():
        numbers.new = numbers.changed = 0
    return by_load
