"""Records that the store fails on, alone, for a reason that may not be their own: the rule of evidence.

A suspect stays unsettled and in flight until there is a verdict. So do the versions of its id that lost to it in the
batch: one that is written meanwhile may come after it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol

import structlog

from common.batching.batch import Item
from common.batching.batcher import Batcher
from common.errors import BatchTooLarge, Reason, RecordsRefused, Refusal
from common.quarantine.evidence import NEIGHBOUR, PAUSE, Suspicion
from common.quarantine.quarantine import Judgement
from common.sink import Outcomes, R
from common.storing.breaker import Breaker, Released
from common.storing.store_writer import StoreWriter
from common.telemetry.metrics import KindMetrics

log = structlog.get_logger()


class Settle(Protocol[R]):
    """Settle what has been committed, and those that lost to it; they leave the flight."""

    def __call__(self, items: Sequence[Item[R]], outcomes: Outcomes, *, losers: Mapping[str, list[Item[R]]]) -> object:
        """Settle."""


@dataclass(slots=True, eq=False)
class Suspect(Generic[R]):
    """A record under suspicion, and those that lost to it."""

    item: Item[R]
    losers: list[Item[R]]
    suspicion: Suspicion
    alarmed: bool = False

    @property
    def all(self) -> list[Item[R]]:
        """Everything that waits for its verdict."""
        return [self.item, *self.losers]


class Suspects(Generic[R]):
    """The suspects of one kind; a task for each."""

    def __init__(
        self,
        *,
        writer: StoreWriter[R],
        batcher: Batcher[R],
        judgement: Judgement[R],
        outage: Breaker,
        metrics: KindMetrics,
        settle: Settle[R],
        store: Callable[[Sequence[Item[R]]], Awaitable[object]],
    ) -> None:
        self._writer, self._batcher, self._judgement = writer, batcher, judgement
        self._outage, self._metrics = outage, metrics
        self._settle, self._store = settle, store
        self._suspects: set[Suspect[R]] = set()
        self._tasks: asyncio.TaskGroup

    @property
    def is_open(self) -> bool:
        """Whether anything awaits its verdict."""
        return bool(self._suspects)

    @property
    def ids(self) -> set[str]:
        """The ids that have a version under suspicion."""
        return {suspect.item.record.id for suspect in self._suspects}

    async def run(self) -> None:
        """Judge until cancelled."""
        async with asyncio.TaskGroup() as self._tasks:
            await asyncio.get_running_loop().create_future()

    def add(self, item: Item[R], losers: list[Item[R]], refusal: Refusal) -> list[Item[R]]:
        """Take over a record that failed alone for an unknown reason. Returns: all that is taken over, in flight."""
        suspect = Suspect(item, losers, Suspicion(refusal, self._outage.episodes))
        log.warning("Record suspected", data_type=self._metrics.kind, error=refusal.error_class)
        self._suspects.add(suspect)
        self._metrics.suspects(len(self._suspects))
        self._tasks.create_task(self._judge(suspect), name="suspect")
        return suspect.all

    async def _judge(self, suspect: Suspect[R]) -> None:
        match await self._verdict(suspect):
            case Outcomes() as outcomes:
                self._judgement.stored(outcomes)
                self._settle([suspect.item], outcomes, losers={suspect.item.record.id: suspect.losers})
            case Refusal() as refusal:
                self._judgement.judge(Outcomes(), [(suspect.item, Reason.REFUSED, refusal)])
                self._batcher.done([suspect.item])
                if suspect.losers:
                    await self._store(suspect.losers)
            case _ if suspect.item.delivery.expired:
                self._metrics.expired(len(suspect.all))
                self._batcher.done(suspect.all)
            case _:
                return  # The process drains. It stays in flight, so that no later version is settled before it.
        self._suspects.discard(suspect)
        self._metrics.suspects(len(self._suspects))

    async def _verdict(self, suspect: Suspect[R]) -> Outcomes | Refusal | None:
        """Write a suspect again and again, until the store takes it or enough speaks against it.

        Returns: None where neither can be waited for any longer.
        """
        suspicion, expired = suspect.suspicion, False
        try:
            while not expired:
                if has_evidence := await self._evidence(suspect):
                    if suspicion.is_proved(episode=self._outage.episodes):
                        return suspicion.refusal
                    await asyncio.sleep(PAUSE)
                try:
                    return await self._writer.write([suspect.item])
                except (RecordsRefused, BatchTooLarge) as error:
                    if isinstance(error, RecordsRefused) and error.certain:
                        return error.refusal
                    if has_evidence:
                        suspicion.failed(error.refusal, episode=self._outage.episodes)
                expired = suspect.item.delivery.expired
        except Released:
            pass
        return None

    async def _evidence(self, suspect: Suspect[R]) -> bool:
        """Wait for a transaction, later than now, that wrote something: a neighbour's, or the witness's.

        Returns: False where there is none for a while. Then the store itself may be the reason, and only trying the
        record again tells whether it still is.
        """
        if await self._neighbour_written(NEIGHBOUR) or await self._witness_written(suspect):
            return True
        # The suspect itself may be what blocks the stream, and with it every neighbour.
        if (neighbour := self._batcher.take_ahead()) is not None:
            await self._store([neighbour])
            if await self._witness_written(suspect):
                return True
        if not suspect.alarmed:
            log.error("Record held: nothing proves that the store takes writes", data_type=self._metrics.kind)
            suspect.alarmed = True
        return await self._neighbour_written(PAUSE)

    async def _witness_written(self, suspect: Suspect[R]) -> bool:
        return await self._writer.rewrite_witness(gone=lambda: suspect.item.delivery.expired)

    async def _neighbour_written(self, within: float) -> bool:
        try:
            async with asyncio.timeout(within):
                await self._writer.witness.testify()
        except TimeoutError:
            return False
        return True
