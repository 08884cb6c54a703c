"""A kind's writes on their way through the breaker: counted, limited in number, and remembered as evidence."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from datetime import UTC, datetime
from typing import Generic, TypeVar

import structlog

from common.batching.batch import Item
from common.errors import BatchTooLarge, RecordsRefused, SinkError, StoreUnavailable, WriteConflict
from common.loads import UNKNOWN
from common.outcomes import Outcomes
from common.sink import R, Result, Sink
from common.storing.breaker import Breaker, Released
from common.storing.witness import Witness
from common.telemetry.metrics import KindMetrics
from common.telemetry.tracing import BatchTrace

log = structlog.get_logger()

T = TypeVar("T")


_RESULTS: dict[type[SinkError], Result] = {
    RecordsRefused: Result.REFUSED,
    BatchTooLarge: Result.TOO_LARGE,
    WriteConflict: Result.CONFLICT,
    StoreUnavailable: Result.UNAVAILABLE,
}


class Turn:
    """A turn at the store: a slot for one transaction after the other, and what these have cost.

    The first slot may be taken before there is anything to write. Each transaction gives its slot back, so that a batch
    that is being halved lets other kinds between its parts.
    """

    def __init__(self, slots: AbstractAsyncContextManager[None]) -> None:
        self._slots = slots
        self._slot = AsyncExitStack()
        self._has_slot = False
        self.transactions = 0
        self.seconds = 0.0
        """Spent in transactions, not in waiting."""
        self.first: Result | None = None
        """How the first transaction ended."""
        self.has_held = False
        """Whether it waited for a store that was away: those that come back are slow."""
        self.trace: BatchTrace | None = None
        """Where its transactions are noted, if what is written is traced."""

    async def take_slot(self) -> None:
        """Wait for a slot, unless there is one."""
        if not self._has_slot:
            await self._slot.enter_async_context(self._slots)
            self._has_slot = True

    async def give_slot_back(self) -> None:
        """Let others have it."""
        self._has_slot = False
        await self._slot.aclose()

    def count(self, result: Result, seconds: float, *, code: str = "") -> None:
        """Count one transaction. `code`: what the store calls the error that ended it."""
        self.transactions += 1
        self.seconds += seconds
        self.first = self.first or result
        if self.trace is not None:
            self.trace.transaction_ended(result, code=code)


class StoreWriter(Generic[R]):
    """Everything that a pipeline asks of its sink goes through here.

    `slots` are as many as there are connections for it: trying a suspect or probing takes one like any batch, and a
    connection is never waited for. Kinds that share them take turns, in the order in which they came.
    """

    def __init__(
        self, sink: Sink[R], breaker: Breaker, metrics: KindMetrics, *, slots: AbstractAsyncContextManager[None]
    ) -> None:
        self._sink = sink
        self._breaker = breaker
        self._metrics = metrics
        self._slots = slots
        self._is_over = False
        self._trouble: dict[str, str] = {}  # what the ledger's last transaction of a sort failed with
        self._said: set[str] = set()
        self._writing = 0
        self._at_rest = asyncio.Event()
        self._at_rest.set()
        self.witness: Witness[R] = Witness()

    def begin_no_more(self) -> None:
        """Drain: release all who wait for a slot, and all who would begin from now on."""
        self._is_over = True

    async def finish(self) -> None:
        """Begin no more, and wait for what is being written: it is settled before this returns."""
        self.begin_no_more()
        await self._at_rest.wait()

    def turn(self) -> Turn:
        """A turn for something that is written."""
        return Turn(self._slots)

    async def write(self, items: Sequence[Item[R]], *, turn: Turn) -> Outcomes:
        """Write items of one channel in one transaction, holding while the store is away.

        Raises: RecordsRefused, BatchTooLarge, Released.
        """
        first, records = items[0].delivery, [item.record for item in items]
        if self._breaker.is_open:
            turn.has_held = True
            await turn.give_slot_back()  # the probe needs one
        outcomes = await self._answered(
            lambda: self._write(records),
            turn=turn,
            records=records,
            gone=lambda: first.expired,
            has_written=lambda outcomes: bool(outcomes.written),
        )
        if outcomes.written:
            self.witness.wrote(records[-1], outcomes)
        return outcomes

    async def rewrite_witness(self, *, gone: Callable[[], bool]) -> bool:
        """Make evidence if no neighbour gives any. Returns: whether there is some now.

        Raises: Released.
        """
        record = self.witness.record
        if record is None:
            return False
        try:
            written = await self._answered(
                lambda: self._sink.rewrite(record), turn=self.turn(), records=[record], gone=gone, has_written=bool
            )
        except (RecordsRefused, BatchTooLarge):
            return False
        if written:
            self.witness.wrote(record, Outcomes(changed=1))
        else:
            self.witness.forget()
        return written

    async def would_take(self, record: R, *, is_made_up: bool = False) -> bool:
        """Whether the store would take a record: it is written, and rolled back. One that is made up is of no load.

        Raises: Released.
        """
        try:
            await self._answered(
                lambda: self._sink.probe(record),
                turn=self.turn(),
                records=[record],
                gone=_never,
                is_made_up=is_made_up,
            )
        except (RecordsRefused, BatchTooLarge):
            return False
        return True

    async def book(self, action: Callable[[], Awaitable[T]], *, sort: str, in_turn: bool) -> T | None:
        """Run a transaction on the ledger, once, if the store is there. `sort`: what fails of one may work of another.

        Without `in_turn` it waits for no slot: there is a connection, because nothing is written yet, or one more.
        Returns: None if the store is away or busy: there is a next time, and records are no worse for it.
        Raises: RecordsRefused, BatchTooLarge: it takes other things, and never this.
        """
        if self._breaker.is_open:
            return None
        turn = self.turn()
        try:
            if in_turn:
                await turn.take_slot()
            answer = await action()
        except (StoreUnavailable, WriteConflict) as error:
            self._complain(sort, error)
            return None
        finally:
            await turn.give_slot_back()
        if self._trouble.pop(sort, None) is not None:
            self._forget_what_is_over()
        return answer

    def _complain(self, sort: str, error: StoreUnavailable | WriteConflict) -> None:
        """Say what is the matter with the ledger if it goes on, once for as long as it is the same."""
        is_again = self._trouble.get(sort) == str(error)
        self._trouble[sort] = str(error)
        self._forget_what_is_over()
        if is_again and str(error) not in self._said:
            self._said.add(str(error))
            reason = getattr(error, "alarm", None) or str(error)
            log.warning("The ledger can't be written", data_type=self._metrics.kind, reason=reason)

    def _forget_what_is_over(self) -> None:
        self._said &= set(self._trouble.values())

    @property
    def is_stopping(self) -> bool:
        """Whether the process drains."""
        return self._breaker.is_stopping

    async def _write(self, records: Sequence[R]) -> Outcomes:
        self._writing += 1
        self._at_rest.clear()
        try:
            return await self._sink.write(records)
        finally:
            self._writing -= 1
            if not self._writing:
                self._at_rest.set()

    async def _answered(
        self,
        action: Callable[[], Awaitable[T]],
        *,
        turn: Turn,
        records: Sequence[R],
        gone: Callable[[], bool],
        has_written: Callable[[T], bool] | None = None,
        is_made_up: bool = False,
    ) -> T:
        """Attempt a transaction until the store answers; while it is away, the breaker probes with the first record.

        `has_written` tells of an answer whether it changed the store, now or by a commit whose answer was lost. Without
        it, the transaction is rolled back.
        """
        answers: list[T] = []
        proves = has_written is not None
        counted: Sequence[R] = () if is_made_up else records
        async for attempt in self._breaker.attempts(
            lambda: self._probe(records[0], counted[:1]), gone=gone, proves=proves
        ):
            with attempt:
                answers.append(await self._transaction(action, turn, counted, gone=gone))
                attempt.has_written = has_written is not None and has_written(answers[0])
        return answers[0]

    async def _probe(self, record: R, counted: Sequence[R]) -> None:
        await self._transaction(lambda: self._sink.probe(record), self.turn(), counted, gone=_never)

    async def _transaction(
        self, action: Callable[[], Awaitable[T]], turn: Turn, counted: Sequence[R], *, gone: Callable[[], bool]
    ) -> T:
        """Run one transaction when it has a slot; measure it from then on. If it fails, the ledger counts an error of
        the loads of the `counted` records.

        Raises: Released if it has become pointless by then.
        """
        now = asyncio.get_running_loop().time
        await turn.take_slot()
        try:
            if self._is_over or gone():
                raise Released
            began = now()
            if turn.trace is not None:
                turn.trace.transaction_begins(len(counted))
            try:
                answer = await action()
            except (RecordsRefused, BatchTooLarge, WriteConflict, StoreUnavailable) as error:
                result = _RESULTS[type(error)]
                self._count(result, now() - began, turn, code=error.code)
                self._note(error, result, counted)
                raise
            self._count(Result.STORED, now() - began, turn)
            return answer
        finally:
            await turn.give_slot_back()

    def _count(self, result: Result, seconds: float, turn: Turn, *, code: str = "") -> None:
        self._metrics.transaction(result, seconds)
        turn.count(result, seconds, code=code)

    def _note(self, error: SinkError, result: Result, records: Sequence[R]) -> None:
        """Leave an error to the ledger: of each load that has a record in it, of which there is nearly always one."""
        now = datetime.now(UTC)
        for load in {record.version or UNKNOWN for record in records}:
            self._sink.ledger.progress.count_error(load, result, error.what, at=now)


def _never() -> bool:
    return False
