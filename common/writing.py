"""A kind's writes on their way through the breaker: counted, limited in number, and remembered as evidence."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from common.batch import Item
from common.errors import BatchTooLarge, RecordsRefused, SinkError, WriteConflict
from common.evidence import Witness
from common.metrics import KindMetrics, Result
from common.outage import Outage
from common.sink import Outcomes, R, Sink

T = TypeVar("T")


class StoreWriter(Generic[R]):
    """Everything that a pipeline asks of its sink goes through here.

    `slots` is the number of writers, which is the kind's share of the pool: judging a suspect or probing waits for a
    writer to be between two batches, and a connection is never waited for.
    """

    def __init__(self, sink: Sink[R], outage: Outage, metrics: KindMetrics, *, slots: int) -> None:
        self._sink = sink
        self._outage = outage
        self._metrics = metrics
        self._slots = asyncio.Semaphore(slots)
        self.witness: Witness[R] = Witness()

    async def write(self, items: Sequence[Item[R]]) -> Outcomes:
        """Write items of one channel in one transaction, holding while the store is away.

        Raises: RecordsRefused, BatchTooLarge, Released.
        """
        first = items[0].delivery
        records = [item.record for item in items]

        async def attempt() -> Outcomes:
            outcomes = await self._transaction(lambda: self._sink.write(records))
            if outcomes.written:
                self.witness.wrote(records[-1], outcomes)
            return outcomes

        return await self._outage.attempt(attempt, since=first.received, gone=lambda: first.expired)

    async def rewrite_witness(self, *, gone: Callable[[], bool]) -> bool:
        """Make evidence where no neighbour gives any. Returns: whether there is some now.

        Raises: Released.
        """
        record = self.witness.record
        if record is None:
            return False
        now = asyncio.get_running_loop().time()
        try:
            written = await self._outage.attempt(
                lambda: self._transaction(lambda: self._sink.rewrite(record)), since=now, gone=gone
            )
        except (RecordsRefused, BatchTooLarge):
            return False
        if written:
            self.witness.wrote(record, Outcomes(changed=1))
        else:
            self.witness.forget()
        return written

    async def probe(self, record: R) -> None:
        """Hold until the store answers a write of this record, which is rolled back.

        Raises: RecordsRefused, BatchTooLarge, Released.
        """
        now = asyncio.get_running_loop().time()
        await self._outage.attempt(
            lambda: self._transaction(lambda: self._sink.probe(record)), since=now, gone=lambda: False
        )

    async def _transaction(self, action: Callable[[], Awaitable[T]]) -> T:
        loop = asyncio.get_running_loop()
        async with self._slots:
            started = loop.time()
            try:
                result = await action()
            except SinkError as error:
                self._metrics.transaction(_result_of(error), loop.time() - started)
                raise
        self._metrics.transaction(Result.STORED, loop.time() - started)
        return result


def _result_of(error: SinkError) -> Result:
    match error:
        case RecordsRefused():
            return Result.REFUSED
        case BatchTooLarge():
            return Result.TOO_LARGE
        case WriteConflict():
            return Result.CONFLICT
        case _:
            return Result.UNAVAILABLE
