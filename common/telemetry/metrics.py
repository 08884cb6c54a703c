"""Every Prometheus metric of the services, declared once.

Counters move after the commit they count. Label values come from fixed sets: services, kinds, outcomes, reasons.
Counters are there at 0 from a kind's beginning, with every label: Prometheus sees no increase in a series that begins
at 7.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector
from prometheus_client import values as kept_values
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from common.batching.batch import Trigger
from common.delivery import Source
from common.envelope import ControlType
from common.errors import Reason
from common.loads import Load, State
from common.outcomes import Outcome, Outcomes
from common.sink import BreakerState, Result
from common.telemetry.log_writer import LogWriter

# With PROMETHEUS_MULTIPROC_DIR in its environment the library would keep every value in files there, which we did not
# ask for, and end the process if there is no such folder.
kept_values.ValueClass = kept_values.MutexValue

REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)  # memory, CPU, open files, and when it began: restarts are told by that

_SIZES = (1, 5, 10, 25, 50, 100, 200, 300, 400, 450, 475, 500, 750, 1000, 2000, 5000, 10000)
_DURATIONS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 30.0, 60.0)
_LATENCIES = (
    *(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
    # Behind a backlog records are minutes old: where buckets are far apart, a quantile is the edge of one.
    *(15.0, 20.0, 30.0, 45.0, 60.0, 90.0, 120.0, 180.0, 300.0, 450.0, 600.0, 900.0, 1800.0, 3600.0, 7200.0),
)
_BY_KIND = ("service", "kind")

RECORDS = Counter(
    "spindle_records", "Records settled, by what became of them", [*_BY_KIND, "outcome"], registry=REGISTRY
)
DEAD_LETTERS = Counter(
    "spindle_dead_letters", "Records dead-lettered and confirmed, by reason", [*_BY_KIND, "reason"], registry=REGISTRY
)
DEAD_LETTERS_UNCONFIRMED = Gauge(
    "spindle_dead_letters_unconfirmed",
    "Dead letters that the broker has not confirmed yet",
    ["service"],
    registry=REGISTRY,
)
PUBLISHING_BLOCKED = Gauge(
    "spindle_publishing_blocked",
    "1 while the broker blocks publishers (memory or disk alarm)",
    ["service"],
    registry=REGISTRY,
)
EXPIRED = Counter(
    "spindle_expired_deliveries", "Deliveries whose channel ended before they were settled", _BY_KIND, registry=REGISTRY
)
CONTROL_MESSAGES = Counter(
    "spindle_control_messages", "Control messages handled", [*_BY_KIND, "type"], registry=REGISTRY
)
RECORDS_PER_SECOND = Gauge(
    "spindle_records_per_second", "Records settled per second over the last ten seconds", _BY_KIND, registry=REGISTRY
)
BATCH_SIZE = Histogram(
    "spindle_batch_size_records",
    "Records per batch, by what closed it",
    [*_BY_KIND, "trigger"],
    buckets=_SIZES,
    registry=REGISTRY,
)
BATCH_ROOM = Counter(
    "spindle_batch_room_records",
    "What all batches could have held, by the batch size in use; spindle_batch_size_records_sum is what they held",
    _BY_KIND,
    registry=REGISTRY,
)
BATCH_SIZE_LIMIT = Gauge("spindle_batch_size_limit_records", "The batch size in use", _BY_KIND, registry=REGISTRY)
BATCH_DURATION = Histogram(
    "spindle_batch_duration_seconds",
    "Seconds in which a batch was written, all its transactions together, without waiting for a turn or for the store",
    _BY_KIND,
    buckets=_DURATIONS,
    registry=REGISTRY,
)
TRANSACTIONS = Counter(
    "spindle_transactions",
    "Transactions tried against the store, by how they ended",
    [*_BY_KIND, "result"],
    registry=REGISTRY,
)
TRANSACTION_DURATION = Histogram(
    "spindle_transaction_duration_seconds",
    "One transaction that stored something, without waiting for a turn; a store that is away refuses in no time",
    _BY_KIND,
    buckets=_DURATIONS,
    registry=REGISTRY,
)
TRANSACTION_TIME = Counter(
    "spindle_transaction_time_seconds",
    "Seconds spent in transactions of the store, by how they ended",
    [*_BY_KIND, "result"],
    registry=REGISTRY,
)
WRITERS = Gauge(
    "spindle_writers", "Transactions at a time that a kind may have at the most", _BY_KIND, registry=REGISTRY
)
LATENCY = Histogram(
    "spindle_publish_to_commit_seconds",
    "From the header timestamp_in_ms to the commit, sampled evenly within each batch",
    _BY_KIND,
    buckets=_LATENCIES,
    registry=REGISTRY,
)
UNACKNOWLEDGED = Gauge(
    "spindle_unacknowledged_deliveries", "Deliveries that the broker awaits an answer for", _BY_KIND, registry=REGISTRY
)
OLDEST = Gauge(
    "spindle_oldest_unacknowledged_seconds",
    "Age of the oldest unsettled delivery, since it arrived",
    _BY_KIND,
    registry=REGISTRY,
)
CONSUMER_TIMEOUT = Gauge(
    "spindle_consumer_timeout_seconds",
    "For how long the broker is asked to await an answer",
    _BY_KIND,
    registry=REGISTRY,
)
SUSPECTS = Gauge(
    "spindle_suspects",
    "Records refused with an unknown error, held until the evidence is in",
    _BY_KIND,
    registry=REGISTRY,
)
HELD = Gauge(
    "spindle_held_dead_letters",
    "Refused records that are held and not dead-lettered, because everything is refused",
    _BY_KIND,
    registry=REGISTRY,
)
FLOODED = Gauge(
    "spindle_refusing_everything",
    "1 while everything of a kind is refused: held in quarantine, or handed back",
    _BY_KIND,
    registry=REGISTRY,
)
HANDED_BACK = Gauge(
    "spindle_handed_back",
    "1 while a kind's deliveries are back with the broker because of a long hold",
    _BY_KIND,
    registry=REGISTRY,
)
PAUSED = Gauge("spindle_paused", "1 while an operator has paused a kind", _BY_KIND, registry=REGISTRY)
LOAD = Gauge(
    "spindle_load", "The newest load that the store's ledger knows, as a number: 20260301", _BY_KIND, registry=REGISTRY
)
LOAD_ANNOUNCED = Gauge(
    "spindle_load_announced_timestamp_seconds",
    "When the newest load was said to be all published; 0 if it was not",
    _BY_KIND,
    registry=REGISTRY,
)
LOAD_CHECKED = Gauge(
    "spindle_load_checked_timestamp_seconds",
    "When the newest load was last compared with its manifest; 0 if it was not",
    _BY_KIND,
    registry=REGISTRY,
)
LOAD_COMPLETE = Gauge(
    "spindle_load_complete", "1 if a check has found the newest load complete in the store", _BY_KIND, registry=REGISTRY
)
LOAD_MISSING = Gauge(
    "spindle_load_missing_records",
    "Records of the newest load that its last check found missing or different",
    _BY_KIND,
    registry=REGISTRY,
)
LOAD_PUBLISHED = Gauge(
    "spindle_load_published_records", "Records of the newest load, as its producer says", _BY_KIND, registry=REGISTRY
)
LOAD_RECORDS = Gauge(
    "spindle_load_records",
    "Records of the newest load that the store's ledger has counted over all processes, by what became of them",
    [*_BY_KIND, "outcome"],
    registry=REGISTRY,
)
BREAKER_OPEN = Gauge(
    "spindle_store_breaker_open", "1 while the store is held to be unavailable", ["service", "store"], registry=REGISTRY
)
BREAKER_STATE = Gauge(
    "spindle_store_breaker_state",
    "1 for the state that the store's breaker is in, 0 for the others",
    ["service", "store", "state"],
    registry=REGISTRY,
)
BREAKER_FAILURES = Gauge(
    "spindle_store_breaker_failures",
    "Attempts that wrote nothing since the store took the last write, away or in conflict after conflict",
    ["service", "store"],
    registry=REGISTRY,
)
NEXT_TRIAL = Gauge(
    "spindle_store_breaker_next_trial_seconds",
    "Seconds until a store that is away is tried again; 0 while it is being tried, or there",
    ["service", "store"],
    registry=REGISTRY,
)
STORE_ALARM = Gauge(
    "spindle_store_alarm",
    "1 while the store needs a person (schema, privilege, login, disk)",
    ["service", "store"],
    registry=REGISTRY,
)
POOL_IN_USE = Gauge("spindle_pool_in_use_connections", "Store connections in use", ["service"], registry=REGISTRY)
POOL_SIZE = Gauge("spindle_pool_size_connections", "Store connections at the most", ["service"], registry=REGISTRY)
BROKER_CONNECTED = Gauge("spindle_broker_connected", "1 while a kind's source can receive", _BY_KIND, registry=REGISTRY)
RECONNECTS = Counter(
    "spindle_broker_reconnects", "Connections or channels that were lost and begun again", _BY_KIND, registry=REGISTRY
)
LOOP_LAG = Gauge(
    "spindle_event_loop_lag_seconds",
    "The longest delay of the event loop in the last ten seconds",
    ["service"],
    registry=REGISTRY,
)
SPANS = Counter(
    "spindle_trace_spans", "Spans of traced batches, by what became of them", ["service", "result"], registry=REGISTRY
)
BUILD = Info("spindle_build", "Version of the running program", ["service"], registry=REGISTRY)


class SpanResult(StrEnum):
    """What became of a span."""

    EXPORTED = "exported"
    DROPPED = "dropped"


@dataclass(frozen=True, slots=True)
class KindMetrics:
    """One kind's metrics with their labels bound, so that the hot path looks nothing up."""

    service: str
    kind: str

    def settled(self, outcomes: Outcomes, *, superseded: int) -> None:
        """Count records that are stored and settled."""
        for outcome, count in (
            (Outcome.NEW, outcomes.new),
            (Outcome.CHANGED, outcomes.changed),
            (Outcome.UNCHANGED, outcomes.unchanged),
            (Outcome.STALE, outcomes.stale),
            (Outcome.SUPERSEDED, superseded),
        ):
            if count:
                RECORDS.labels(self.service, self.kind, outcome).inc(count)

    def dead_lettered(self, reason: Reason) -> None:
        """Count one record whose dead letter is confirmed."""
        RECORDS.labels(self.service, self.kind, Outcome.DEAD_LETTERED).inc()
        DEAD_LETTERS.labels(self.service, self.kind, reason).inc()

    def expired(self, count: int) -> None:
        """Count deliveries that the broker will give out again."""
        if count:
            EXPIRED.labels(self.service, self.kind).inc(count)

    def control(self, message_type: ControlType) -> None:
        """Count a control message that has been handled."""
        CONTROL_MESSAGES.labels(self.service, self.kind, message_type).inc()

    def batch(self, *, size: int, trigger: Trigger, limit: int) -> None:
        """Note a batch as it was taken, and the batch size in use then."""
        BATCH_SIZE.labels(self.service, self.kind, trigger).observe(size)
        BATCH_ROOM.labels(self.service, self.kind).inc(limit)

    def batch_done(self, seconds: float) -> None:
        """Note how long writing a batch took."""
        BATCH_DURATION.labels(self.service, self.kind).observe(seconds)

    def latency(self, seconds: float) -> None:
        """Note one record's way from publish to commit."""
        LATENCY.labels(self.service, self.kind).observe(seconds)

    def transaction(self, result: Result, seconds: float) -> None:
        """Count one transaction that was tried, and note how long it took."""
        TRANSACTIONS.labels(self.service, self.kind, result).inc()
        TRANSACTION_TIME.labels(self.service, self.kind, result).inc(seconds)
        if result is Result.STORED:
            TRANSACTION_DURATION.labels(self.service, self.kind).observe(seconds)

    def reconnected(self) -> None:
        """Count one connection or channel begun again."""
        RECONNECTS.labels(self.service, self.kind).inc()

    def flooded(self, held: bool) -> None:
        """Say whether everything is refused."""
        FLOODED.labels(self.service, self.kind).set(held)

    def suspects(self, count: int) -> None:
        """Say how many records await the evidence."""
        SUSPECTS.labels(self.service, self.kind).set(count)

    def handed_back(self, away: bool) -> None:
        """Say whether the deliveries are back with the broker."""
        HANDED_BACK.labels(self.service, self.kind).set(away)

    def paused(self, is_paused: bool) -> None:
        """Say whether an operator has paused the kind."""
        PAUSED.labels(self.service, self.kind).set(is_paused)

    def load(self, load: Load | None) -> None:
        """Show what the ledger says of the newest load."""
        known = load or Load(load="0", kind=self.kind, state=State.RUNNING)
        for gauge, value in (
            (LOAD, int(known.load or 0)),
            (LOAD_ANNOUNCED, _seconds(known.announced_at)),
            (LOAD_CHECKED, _seconds(known.checked_at)),
            (LOAD_COMPLETE, known.state is State.COMPLETE),
            (LOAD_MISSING, (known.missing or 0) + (known.different or 0)),
            (LOAD_PUBLISHED, known.published or 0),
        ):
            gauge.labels(self.service, self.kind).set(value)
        for outcome in Outcome:
            LOAD_RECORDS.labels(self.service, self.kind, outcome).set(getattr(known.totals, outcome))

    def batch_size_limit(self, records: int) -> None:
        """Say which batch size is in use."""
        BATCH_SIZE_LIMIT.labels(self.service, self.kind).set(records)

    def begin(self, *, writers: int, consumer_timeout: float) -> None:
        """Say the limits, and show at 0 everything that counts."""
        WRITERS.labels(self.service, self.kind).set(writers)
        CONSUMER_TIMEOUT.labels(self.service, self.kind).set(consumer_timeout)
        self.paused(False)
        self.load(None)
        for metric in (
            *(EXPIRED, RECONNECTS, BATCH_ROOM),
            *(BATCH_DURATION, TRANSACTION_DURATION, LATENCY),
            *(SUSPECTS, HELD, FLOODED, HANDED_BACK, RECORDS_PER_SECOND),
        ):
            metric.labels(self.service, self.kind)
        for labelled, values in _LABELS:
            for value in values:
                labelled.labels(self.service, self.kind, value)

    def watch(self, source: Source) -> None:
        """Read the source's state whenever somebody scrapes."""
        UNACKNOWLEDGED.labels(self.service, self.kind).set_function(lambda: source.unsettled)
        BROKER_CONNECTED.labels(self.service, self.kind).set_function(lambda: source.connected)
        OLDEST.labels(self.service, self.kind).set_function(lambda: _age(source.oldest))

    def watch_held(self, count: Callable[[], int]) -> None:
        """Read how many refused records are held whenever somebody scrapes."""
        HELD.labels(self.service, self.kind).set_function(count)


_LABELS: Sequence[tuple[Counter | Histogram, type[StrEnum]]] = (
    (RECORDS, Outcome),
    (DEAD_LETTERS, Reason),
    (CONTROL_MESSAGES, ControlType),
    (BATCH_SIZE, Trigger),
    (TRANSACTIONS, Result),
    (TRANSACTION_TIME, Result),
)
"""What counts by one more label, and every value of that."""


def await_store(service: str, store: str) -> None:
    """Show a store as away until its breaker says otherwise: a service waits for it from its start."""
    show_breaker(service, store, BreakerState.OPEN, failures=0)
    NEXT_TRIAL.labels(service, store)
    STORE_ALARM.labels(service, store)


def show_breaker(service: str, store: str, state: BreakerState, *, failures: int) -> None:
    """Say what state a store's breaker is in, and how many attempts have found the store away."""
    BREAKER_OPEN.labels(service, store).set(state is not BreakerState.CLOSED)
    BREAKER_FAILURES.labels(service, store).set(failures)
    for each in BreakerState:
        BREAKER_STATE.labels(service, store, each).set(each is state)


def watch_trial(service: str, store: str, moment: Callable[[], float | None]) -> None:
    """Read how far away the next trial is whenever somebody scrapes; `moment`: when it begins, None for not at all."""
    NEXT_TRIAL.labels(service, store).set_function(lambda: _until(moment()))


class _DroppedLines(Collector):
    def __init__(self) -> None:
        self._writers: dict[str, LogWriter] = {}

    def watch(self, service: str, writer: LogWriter) -> None:
        self._writers[service] = writer

    def collect(self) -> Iterator[CounterMetricFamily]:
        family = CounterMetricFamily(
            "spindle_log_lines_dropped",
            "Log lines that nobody read in time, or that could not be written",
            labels=["service"],
        )
        for service, writer in self._writers.items():
            family.add_metric([service], writer.dropped)
        yield family


_DROPPED_LINES = _DroppedLines()
REGISTRY.register(_DROPPED_LINES)


def watch_log(service: str, writer: LogWriter) -> None:
    """Read how many lines were dropped whenever somebody scrapes."""
    _DROPPED_LINES.watch(service, writer)


def count_spans(service: str, result: SpanResult, count: int) -> None:
    """Count spans that have left the process, or never will."""
    SPANS.labels(service, result).inc(count)


def watch_store(service: str, *, in_use: Callable[[], int], size: int) -> None:
    """Read the pool's state whenever somebody scrapes."""
    POOL_IN_USE.labels(service).set_function(in_use)
    POOL_SIZE.labels(service).set(size)


def _seconds(moment: datetime | None) -> float:
    return moment.timestamp() if moment else 0.0


def _until(moment: float | None) -> float:
    return 0.0 if moment is None else max(0.0, moment - time.monotonic())


def _age(since: float | None) -> float:
    return 0.0 if since is None else max(0.0, time.monotonic() - since)
