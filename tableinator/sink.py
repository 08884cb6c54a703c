"""Write a kind's batches into its table, one transaction each.

    look up ids, hashes, versions ─► decide ─► COPY the new ones ─► upsert the changed ones ─► commit
                                                    │ another replica was faster
                                                    └─► all of it again, through the upsert

Unchanged records stop at the look-up, before the server parses their JSON: the parse is the cost. The look-up is an
optimisation and no guard: the upsert carries the conditions itself, and COPY has the primary key.
"""

from collections.abc import Sequence

import asyncpg
import structlog

from common.errors import SinkError, WriteConflict
from common.outcomes import Outcome, Outcomes
from common.progress import count, numbers_of, process_name
from common.storing.lost_commits import LostCommits
from tableinator.classification import ERRORS, classify
from tableinator.connections import Connections
from tableinator.model import Row
from tableinator.notes import TableLedger
from tableinator.statements import CONFIRM, Statements
from tableinator.transaction import Transaction
from tableinator.writing import Outrun, overwrite, store

log = structlog.get_logger()


class TableSink:
    """One kind's table. Writers share it; it passes the Sink contract."""

    def __init__(self, connections: Connections, kind: str, *, process: str = "") -> None:
        self._connections = connections
        self.ledger = TableLedger(connections, kind, process or process_name())
        self._statements = Statements.of(kind)
        self._doubts = LostCommits()

    async def write(self, records: Sequence[Row]) -> Outcomes:
        """Store every record or none, in one transaction; see `common.sink.Sink`."""
        if not records:
            return Outcomes()
        try:
            try:
                return await self._write(records, copying=True)
            except Outrun:
                return await self._write(records, copying=False)
        except ERRORS as error:
            raise self._translated(error, alone=len(records) == 1) from error

    async def rewrite(self, record: Row) -> bool:
        """Write a stored record over itself and commit; see `common.sink.Sink`."""
        try:
            async with self._connections.transaction() as transaction:
                tag = await transaction.execute(self._statements.rewrite, record.id, record.hash, record.body)
                await transaction.commit()
        except ERRORS as error:
            raise self._translated(error, alone=True) from error
        return tag == "UPDATE 1"

    async def probe(self, record: Row) -> None:
        """Write a record for real, then roll back; see `common.sink.Sink`."""
        try:
            async with self._connections.transaction() as transaction:
                await overwrite(transaction, self._statements, record)
                await self.ledger.try_to_write(transaction)
        except Outrun as error:
            raise WriteConflict("another replica has just stored the record of the probe") from error
        except ERRORS as error:
            raise self._translated(error, alone=True) from error

    async def _write(self, rows: Sequence[Row], *, copying: bool) -> Outcomes:
        async with self._connections.transaction() as transaction:
            found = await store(transaction, self._statements, rows, copying=copying)
            outcomes = count(found)
            numbers = numbers_of(rows, found, outcomes)
            if outcomes.written:
                with self.ledger.progress.taking(numbers) as note:
                    await self.ledger.write(transaction, note)
                    await self._commit(transaction, rows, found)
            else:
                await self._confirm(transaction, rows)
                await self._commit(transaction, rows, found)
                self.ledger.progress.add(numbers)
        return count(self._doubts.settle(rows, found)) if self._doubts else outcomes

    async def _confirm(self, transaction: Transaction, rows: Sequence[Row]) -> None:
        """Have the commit of a batch that writes nothing wait as one that writes.

        What it found may be committed on this server and not yet on its standby: by a transaction of ours whose answer
        was lost, or of somebody whose wait was ended.
        """
        if transaction.replicated or self._doubts.concern(rows):
            await transaction.fetch(CONFIRM)

    async def _commit(self, transaction: Transaction, rows: Sequence[Row], outcomes: Sequence[Outcome]) -> None:
        try:
            await transaction.commit()
        except BaseException:
            # Whatever it was, also a cancellation: the server may have committed, and its answer is lost.
            self._doubts.remember(rows, outcomes)
            raise

    def _translated(self, error: Exception, *, alone: bool) -> SinkError:
        if isinstance(error, asyncpg.CardinalityViolationError):
            log.error("A batch holds an id twice, which is our fault", data_type=self._statements.table)
        return classify(error, alone=alone)
