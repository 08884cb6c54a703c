"""Note what happens to a batch while it is written, for its spans. Nothing here runs if TRACING is off.

Only a sampled batch has a trace, and the spans are made of it when it has ended: by `otlp`, the one module that knows
OpenTelemetry, which is imported only if TRACING says so.
"""

import asyncio
import random
import time
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import structlog

from common.batching.batch import Batch
from common.errors import StartRefused
from common.outcomes import Outcomes
from common.settings.programs import ConsumerSettings
from common.sink import Result

log = structlog.get_logger()

MOST_TRANSACTIONS = 64
"""Transactions kept of a batch; one halved down to single records has twice as many as records."""

FLUSH_LIMIT = 2.0
"""Seconds that the end of the process waits for spans."""

FLUSH_MARGIN = 0.5
"""Seconds before the drain's deadline at which nobody waits for them any more."""


class TracedTransaction(NamedTuple):
    """A transaction that was tried. Times are nanoseconds since 1970."""

    began: int
    ended: int
    records: int
    result: Result
    code: str
    """The store's own, for what it refused; empty if it has none."""


class BatchTrace:
    """One batch, from the moment it was closed until all of it is settled, or left."""

    def __init__(self, kind: str, batch: Batch[Any], *, on_end: "Callable[[BatchTrace], None]") -> None:
        self.kind, self.batch = kind, batch
        self._on_end = on_end
        self._since = time.time_ns() - time.perf_counter_ns()  # one clock for all of it: the machine's may be set back
        self.began = self.ended = self._transaction_began = self._now()
        self._writing = 0
        self.outcomes = Outcomes()
        self.superseded = self.quarantined = self.released = 0
        self.transactions: list[TracedTransaction] = []
        self.transaction_count = 0

    def transaction_begins(self, records: int) -> None:
        """Note that one of so many records begins now. (The loop's clock is as coarse as a short one is long.)"""
        self._transaction_began, self._writing = self._now(), records

    def transaction_ended(self, result: Result, *, code: str) -> None:
        """Note how the one ended that began last, just now."""
        self.transaction_count += 1
        if len(self.transactions) < MOST_TRANSACTIONS:
            transaction = TracedTransaction(self._transaction_began, self._now(), self._writing, result, code)
            self.transactions.append(transaction)

    def stored(self, outcomes: Outcomes, *, superseded: int) -> None:
        """Note records that are committed and settled, and how many lost to them."""
        self.outcomes += outcomes
        self.superseded += superseded

    def end(self, *, quarantined: int) -> None:
        """Nothing more is done with the batch: so many are in quarantine, and what else is left comes again."""
        self.ended = self._now()
        self.quarantined = quarantined
        self.released = self.batch.size - self.outcomes.total - self.superseded - quarantined
        self._on_end(self)

    def _now(self) -> int:
        return self._since + time.perf_counter_ns()


class SpanExport(Protocol):
    """What makes spans, and sends them."""

    def send(self, trace: BatchTrace) -> None:
        """Make spans of a batch that has ended, and have them sent soon. Waits for nothing."""

    async def close(self, limit: float) -> None:
        """Send what waits, within so many seconds; to a collector that takes nothing, nothing."""


class Tracer:
    """Chooses batches, and has their spans made."""

    def __init__(self, export: SpanExport, *, ratio: float, rng: random.Random | None = None) -> None:
        """`ratio`: the share of batches, from 0 to 1."""
        self._export, self._ratio = export, ratio
        self._rng = rng or random.Random()  # noqa: S311 - a sample, not a secret
        self._has_failed = False
        self._deadline = float("inf")

    def begin(self, kind: str, batch: Batch[Any]) -> BatchTrace | None:
        """Begin the trace of a batch that was closed just now; None if it is not of the sample."""
        return BatchTrace(kind, batch, on_end=self._send) if self._rng.random() < self._ratio else None

    def drain(self, limit: float) -> None:
        """The process ends within so many seconds."""
        self._deadline = asyncio.get_running_loop().time() + limit - FLUSH_MARGIN

    async def close(self) -> None:
        """Send what waits, for as long as the drain leaves time for it."""
        left = self._deadline - asyncio.get_running_loop().time()
        await self._export.close(max(0.0, min(left, FLUSH_LIMIT)))

    def _send(self, trace: BatchTrace) -> None:
        try:
            self._export.send(trace)
        except Exception as error:  # noqa: BLE001 - it only watches: records go on without their spans
            if not self._has_failed:
                # Only its class: the text may show a header of a message.
                log.warning("No spans can be made of a batch", data_type=trace.kind, error=type(error).__name__)
            self._has_failed = True


def open_tracer(settings: ConsumerSettings) -> Tracer | None:
    """What traces batches, if it is on.

    Raises: StartRefused if it can't be.
    """
    if settings.tracing_ratio is None:
        return None
    try:
        from common.telemetry.otlp import open_export  # here: nobody else has a need for what it imports
    except ImportError as error:
        raise StartRefused(
            f"TRACING is 'otlp' and {error.name or 'OpenTelemetry'} is not installed; install the extra tracing "
            "(pip install '.[tracing]', or build the images with --build-arg TRACING=otlp), or set TRACING=off."
        ) from error
    except ValueError as error:  # of variables that the SDK reads when it is imported
        raise unusable(error) from None
    return Tracer(open_export(settings), ratio=settings.tracing_ratio)


def unusable(error: Exception) -> StartRefused:
    """What to raise instead of what the SDK raises for its variables, whose text is in there."""
    return StartRefused(
        f"TRACING is 'otlp' and OpenTelemetry's SDK can't be used as it is configured ({type(error).__name__}); "
        "look at the variables OTEL_…, or set TRACING=off."
    )
