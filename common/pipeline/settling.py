"""What is done with deliveries that leave the flight: settled and counted, or left to come again."""

import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Generic

import structlog

from common.batching.batch import Barrier, Item, deliveries
from common.batching.batcher import Batcher
from common.delivery import Source
from common.envelope import FileComplete
from common.loads import UNKNOWN
from common.outcomes import Outcomes
from common.progress import Numbers, Progress
from common.sink import R
from common.telemetry.metrics import KindMetrics

log = structlog.get_logger()

LATENCY_SAMPLES = 10  # per batch: an observation per record would cost more than writing it

_NO_LOSERS: Mapping[str, list[Item[Any]]] = {}


class Settling(Generic[R]):
    """The end of every delivery of one kind that is stored or handled, or that nobody waits for any longer."""

    def __init__(self, *, source: Source, batcher: Batcher[R], metrics: KindMetrics, progress: Progress) -> None:
        self._source, self._batcher, self._metrics, self._progress = source, batcher, metrics, progress
        self.has_loose_ends = False
        """Whether something was left unsettled that will not be settled any more by this process."""

    def settle(
        self, items: Sequence[Item[R]], outcomes: Outcomes, *, losers: Mapping[str, list[Item[R]]] = _NO_LOSERS
    ) -> list[Item[R]]:
        """Settle what has been committed, and those that lost to it. Returns: all that left the flight."""
        beaten = [loser for item in items for loser in losers.get(item.record.id, ())] if losers else []
        done = [*items, *beaten]
        self._source.settle(deliveries(done))
        if items[0].delivery.expired:
            self._metrics.expired(len(done))
        else:
            self._metrics.settled(outcomes, superseded=len(beaten))
            for item in beaten:
                self._progress.add({item.record.version or UNKNOWN: Numbers(superseded=1)})
            self._observe_latency(items)
        self._batcher.done(done)
        return done

    def release(self, left: Collection[Item[R]]) -> None:
        """Let go what was not written: the channel is gone, or the process drains."""
        expired = [item for item in left if item.delivery.expired]
        self._metrics.expired(len(expired))
        self._batcher.done(expired)
        # The others stay in flight: a later version that was stored and settled now would be undone when they return.
        self.has_loose_ends = self.has_loose_ends or len(expired) < len(left)

    def tell(self, barrier: Barrier) -> None:
        """Log a statement about the stream. It orders this replica and proves nothing about others."""
        control, kind = barrier.control, self._metrics.kind
        if isinstance(control, FileComplete):
            log.info("File complete", data_type=kind, file=control.file, published=control.total_processed)
        else:
            log.info("Extraction complete", data_type=kind, load=control.version)

    def _observe_latency(self, items: Sequence[Item[R]]) -> None:
        now = time.time() * 1000
        for item in items[:: max(1, len(items) // LATENCY_SAMPLES)]:
            if item.delivery.published_ms is not None:
                self._metrics.latency(max(0.0, now - item.delivery.published_ms) / 1000)
