"""From a kind's source to its batcher: receive, decode, set aside what holds no record; and the end of the stream.

The end is the drain signal: `receive` returns an empty burst, the batcher flushes, the writers return.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Generic

import structlog

from common.batching.batch import Barrier, Item
from common.batching.batcher import Batcher
from common.dead_letters import DeadLetter
from common.delivery import Delivery, Source
from common.envelope import ExtractionComplete, FileComplete, Projection
from common.errors import DecodeError, Reason
from common.pipeline.decoding import decode
from common.quarantine.quarantine import Quarantine
from common.sink import R
from common.telemetry.metrics import KindMetrics

log = structlog.get_logger()

PIECE = 200  # deliveries read at a time: 2,000 of the graph's take 40 ms, in which nothing else has a turn
DRAIN_BLOCKED = 2.0  # seconds that a drain waits for what blocks the rest of the stream, with all writers idle
DRAIN_BEGIN = 0.5  # of the drain limit: later no batch is begun, so that those begun are done before the deadline


class Reader(Generic[R]):
    """Reads one kind. `on_end` is called when the stream has ended, `on_late` when half of the drain's time is gone."""

    def __init__(
        self,
        *,
        source: Source,
        project: Projection[R],
        batcher: Batcher[R],
        quarantine: Quarantine[R],
        metrics: KindMetrics,
        drain_limit: float,
        on_end: Callable[[], None],
        on_late: Callable[[], None],
        message_max_bytes: int,
    ) -> None:
        self._source, self._project, self._batcher, self._quarantine = source, project, batcher, quarantine
        self._metrics, self._drain_limit = metrics, drain_limit
        self._on_end, self._on_late = on_end, on_late
        self._max_bytes = message_max_bytes
        self._epoch = 0
        self._said: set[tuple[Reason, str]] = set()

    async def run(self) -> None:
        """Read until the source is stopped and all that had arrived is with the batcher."""
        while burst := await self._source.receive():
            if burst[0].epoch.number != self._epoch:
                self._epoch = burst[0].epoch.number
                self._quarantine.epoch_began()
            for first in range(0, len(burst), PIECE):
                self._batcher.put(self._decode(burst[first : first + PIECE]))
                await asyncio.sleep(0)
        self._batcher.close()
        self._on_end()
        loop = asyncio.get_running_loop()
        loop.call_later(DRAIN_BLOCKED, self._batcher.give_up)
        loop.call_later(DRAIN_BEGIN * self._drain_limit, self._begin_no_more)

    def _begin_no_more(self) -> None:
        self._on_late()
        if left := self._batcher.abandon():
            log.info("Draining slowly: the rest will be delivered again", data_type=self._metrics.kind, deliveries=left)

    def _decode(self, burst: Sequence[Delivery]) -> list[Item[R] | Barrier]:
        """Read a burst; what can't be read is set aside, and the line goes on."""
        project = self._project
        items: list[Item[R] | Barrier] = []
        unreadable: list[DeadLetter] = []
        for delivery in burst:
            try:
                read = decode(delivery, project, max_bytes=self._max_bytes)
            except DecodeError as error:
                unreadable.append(self._unreadable(delivery, error))
            else:
                items.append(
                    Barrier(delivery, read)
                    if isinstance(read, FileComplete | ExtractionComplete)
                    else Item(delivery, read)
                )
        if unreadable:
            self._quarantine.unreadable(unreadable)
        return items

    def _unreadable(self, delivery: Delivery, error: DecodeError) -> DeadLetter:
        what = (error.reason, error.refusal.error_class)
        if what not in self._said:
            self._said.add(what)
            log.warning(
                "First dead letter of this kind", data_type=self._metrics.kind, reason=error.reason, error=what[1]
            )
        return DeadLetter(delivery, self._metrics.kind, error.record_id, error.reason, error.refusal)
