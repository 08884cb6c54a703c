"""Give deliveries back before the broker takes them away.

A delivery that stays unsettled longer than the broker's consumer timeout costs the channel and delivery budget, again
and again. So at half of that, by default, the channel is closed on purpose, once; the source consumes again when the
store is back.
"""

import asyncio
from typing import Generic

import structlog

from common.backoff import Backoff
from common.batching.batcher import Batcher
from common.delivery import Source
from common.pipeline.absence import Absence
from common.quarantine.quarantine import Quarantine
from common.sink import R
from common.storing.breaker import Breaker, Released
from common.storing.store_writer import StoreWriter
from common.telemetry.metrics import KindMetrics

log = structlog.get_logger()


class HoldLimit(Generic[R]):
    """Watch the oldest unsettled delivery of one kind."""

    def __init__(
        self,
        limit: float,
        *,
        source: Source,
        breaker: Breaker,
        batcher: Batcher[R],
        writer: StoreWriter[R],
        metrics: KindMetrics,
        quarantine: Quarantine[R],
        absence: Absence,
        backoff: Backoff,
    ) -> None:
        self._limit, self._backoff = limit, backoff
        self._absence = absence
        self._source, self._breaker, self._batcher, self._writer = source, breaker, batcher, writer
        self._metrics, self._quarantine = metrics, quarantine

    async def run(self) -> None:
        """Watch until cancelled, or until the process drains while it waits for the store."""
        while True:
            if (left := self._left()) > 0:
                await asyncio.sleep(left)
                continue
            try:
                await self._hand_back()
            except Released:
                return

    def _left(self) -> float:
        """Seconds until the limit is reached, as far as one can tell now."""
        oldest = self._source.oldest
        return self._limit if oldest is None else oldest + self._limit - asyncio.get_running_loop().time()

    async def _hand_back(self) -> None:
        held = self._quarantine.record
        log.warning("Hold limit reached, deliveries handed back", data_type=self._metrics.kind, limit=self._limit)
        self._metrics.handed_back(True)
        self._quarantine.handed_back(True)
        await self._absence.begin()
        self._batcher.discard_expired()
        self._breaker.release()
        await self._breaker.until_closed()
        # A full disk, or a standby that is away, lets a probe pass and no commit: this is one.
        await self._writer.rewrite_witness(gone=lambda: False)
        if held is not None and self._quarantine.is_out_of_credit:
            await self._until_taken(held)
        if await self._absence.end():
            log.info("Consuming again", data_type=self._metrics.kind)
        self._metrics.handed_back(False)
        self._quarantine.handed_back(False)

    async def _until_taken(self, record: R) -> None:
        """Everything was refused: wait until the store would take one of those records, for as long again.

        Not forever: only what comes next can show that it was the records' fault after all.
        """
        now = asyncio.get_running_loop().time
        patience = now() + self._limit
        for pause in self._backoff.delays():
            if await self._writer.would_take(record) or now() >= patience:
                return
            await asyncio.sleep(min(pause, patience - now()))
