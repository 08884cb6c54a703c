"""A kind's writes on their way through the breaker: counted, limited in number, and remembered as evidence."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

from common.batching.batch import Item
from common.errors import BatchTooLarge, RecordsRefused, SinkError, StoreUnavailable, WriteConflict
from common.sink import Outcomes, R, Sink
from common.storing.breaker import Breaker, Released
from common.storing.witness import Witness
from common.telemetry.metrics import KindMetrics, Result

T = TypeVar("T")

_RESULTS: dict[type[SinkError], Result] = {
    RecordsRefused: Result.REFUSED,
    BatchTooLarge: Result.TOO_LARGE,
    WriteConflict: Result.CONFLICT,
    StoreUnavailable: Result.UNAVAILABLE,
}


@dataclass(slots=True)
class WriteStats:
    """What storing something has cost: how many transactions, and the seconds spent in them, not in waiting.

    `on_begin` is called when the first one has its slot.
    """

    on_begin: Callable[[], None] = lambda: None
    transactions: int = 0
    seconds: float = 0.0
    first: Result | None = None
    """How the first one ended."""

    def begin(self) -> None:
        """Begin one transaction."""
        if not self.transactions:
            self.on_begin()

    def add(self, result: Result, seconds: float) -> None:
        """Count one transaction."""
        self.transactions += 1
        self.seconds += seconds
        self.first = self.first or result


class StoreWriter(Generic[R]):
    """Everything that a pipeline asks of its sink goes through here.

    `slots` are as many as there are connections for it: judging a suspect or probing takes one like any batch, and a
    connection is never waited for. Kinds that share them take turns, in the order in which they came.
    """

    def __init__(
        self, sink: Sink[R], outage: Breaker, metrics: KindMetrics, *, slots: AbstractAsyncContextManager[None]
    ) -> None:
        self._sink = sink
        self._outage = outage
        self._metrics = metrics
        self._slots = slots
        self._is_over = False
        self._asking: list[tuple[float, R]] = []
        self._writing = 0
        self._at_rest = asyncio.Event()
        self._at_rest.set()
        self.witness: Witness[R] = Witness()

    def begin_no_more(self) -> None:
        """Drain: whoever waits for a slot is released, and so is who would begin from now on."""
        self._is_over = True

    async def finish(self) -> None:
        """Begin no more, and wait for what is being written: whoever wrote it settles it before this returns."""
        self.begin_no_more()
        await self._at_rest.wait()

    @property
    def oldest_record(self) -> R | None:
        """The one that has waited longest of those being written, or held while the store is away."""
        return min(self._asking, key=lambda asking: asking[0], default=(0.0, None))[1]

    async def write(self, items: Sequence[Item[R]], *, effort: WriteStats | None = None) -> Outcomes:
        """Write items of one channel in one transaction, holding while the store is away; add up the effort.

        Raises: RecordsRefused, BatchTooLarge, Released.
        """
        first = items[0].delivery

        def gone() -> bool:
            return first.expired

        async def attempt() -> Outcomes:
            # Not listed before there is a slot: the items may grow until then.
            outcomes = await self._transaction(
                lambda: self._write([item.record for item in items]), gone=gone, effort=effort
            )
            if outcomes.written:
                self.witness.wrote(items[-1].record, outcomes)
            return outcomes

        return await self._hold(attempt, items[0].record, since=first.received, gone=gone)

    async def _write(self, records: Sequence[R]) -> Outcomes:
        self._writing += 1
        self._at_rest.clear()
        try:
            return await self._sink.write(records)
        finally:
            self._writing -= 1
            if not self._writing:
                self._at_rest.set()

    async def rewrite_witness(self, *, gone: Callable[[], bool]) -> bool:
        """Make evidence where no neighbour gives any. Returns: whether there is some now.

        Raises: Released.
        """
        record = self.witness.record
        if record is None:
            return False
        now = asyncio.get_running_loop().time()
        try:
            written = await self._hold(
                lambda: self._transaction(lambda: self._sink.rewrite(record), gone=gone), record, since=now, gone=gone
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
            lambda: self._transaction(lambda: self._sink.probe(record), gone=_never), since=now, gone=_never
        )

    async def _hold(
        self, action: Callable[[], Awaitable[T]], record: R, *, since: float, gone: Callable[[], bool]
    ) -> T:
        """Run a write when the store takes it. The last to hold goes on asking for its return, though only with a probe
        of this record: without anybody, the store would count as away until something came to be written.
        """
        asking = since, record
        self._asking.append(asking)
        try:
            return await self._outage.attempt(action, since=since, gone=gone)
        except Released:
            if self._outage.is_open and not self._outage.is_asked:
                with suppress(RecordsRefused, BatchTooLarge, Released):
                    await self.probe(record)
            raise
        finally:
            self._asking.remove(asking)

    async def _transaction(
        self, action: Callable[[], Awaitable[T]], *, gone: Callable[[], bool], effort: WriteStats | None = None
    ) -> T:
        """Run one transaction when it has a slot; measure it from then on.

        Raises: Released where it has become pointless by then.
        """
        now = asyncio.get_running_loop().time
        async with self._slots:
            if self._is_over or gone():
                raise Released
            if effort is not None:
                effort.begin()
            began = now()
            try:
                answer = await action()
            except (RecordsRefused, BatchTooLarge, WriteConflict, StoreUnavailable) as error:
                self._count(_RESULTS[type(error)], now() - began, effort)
                raise
            self._count(Result.STORED, now() - began, effort)
            return answer

    def _count(self, result: Result, seconds: float, effort: WriteStats | None) -> None:
        self._metrics.transaction(result, seconds)
        if effort is not None:
            effort.add(result, seconds)


def _never() -> bool:
    return False
