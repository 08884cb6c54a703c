"""Give deliveries back before the broker takes them away.

A delivery that stays unsettled longer than the broker's consumer timeout costs the channel and delivery budget, again
and again. So at half of that, by default, the channel is closed on purpose, once; one record is kept and written on
trial (rolled back) until the store takes it; then the source consumes again.
"""

import asyncio
from collections.abc import Callable
from typing import Generic

import structlog

from common.backoff import delays
from common.batching.batcher import Batcher
from common.delivery import Source
from common.errors import BatchTooLarge, RecordsRefused
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
        outage: Breaker,
        batcher: Batcher[R],
        writer: StoreWriter[R],
        metrics: KindMetrics,
        oldest_record: Callable[[], R | None],
        quarantine: Quarantine[R],
    ) -> None:
        self._limit = limit
        self._source, self._outage, self._batcher, self._writer = source, outage, batcher, writer
        self._metrics = metrics
        self._oldest_record, self._quarantine = oldest_record, quarantine

    async def run(self) -> None:
        """Watch until cancelled, or until the process drains while it waits for the store."""
        loop = asyncio.get_running_loop()
        while True:
            oldest = self._source.oldest
            left = self._limit if oldest is None else oldest + self._limit - loop.time()
            if left > 0:
                await asyncio.sleep(left)
                continue
            try:
                await self._hand_back()
            except Released:
                return

    async def _hand_back(self) -> None:
        kept = self._oldest_record()
        log.warning("Hold limit reached, deliveries handed back", data_type=self._metrics.kind, limit=self._limit)
        self._metrics.handed_back(True)
        self._quarantine.handed_back(True)
        await self._source.hand_back()
        self._batcher.discard_expired()
        self._outage.release()
        if kept is not None:
            await self._until_taken(kept)
        log.info("Consuming again", data_type=self._metrics.kind)
        await self._source.resume()
        self._metrics.handed_back(False)
        self._quarantine.handed_back(False)

    async def _until_taken(self, record: R) -> None:
        """Wait until the store would take the record that was kept, or refuses it: that is an answer too.

        While the store refuses everything a refusal is waited out, though not for ever: only what comes next can show
        that it was the records' fault after all.
        """
        now = asyncio.get_running_loop().time
        patience = now() + self._limit
        for pause in delays():
            try:
                await self._writer.probe(record)
            except (RecordsRefused, BatchTooLarge):
                if not self._quarantine.is_out_of_credit or now() >= patience:
                    return
                await asyncio.sleep(pause)
            else:
                return
