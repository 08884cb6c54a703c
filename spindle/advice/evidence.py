"""The numbers that are looked at, each with the one from which it is bad. Pure."""

from dataclasses import dataclass, replace

from common.kinds import Service
from common.ops.waits import Wait
from common.outcomes import Outcome
from spindle.advice.meters import Meters

ENOUGH = 1000
"""Records in the window: below, chance says more than the meters do."""

BUSY = 0.7
"""Share of the time from which a stage can be the limit: what is left lies between two transactions. (Seen of a Neo4j
on a machine without a free core: 0.74.)"""

HALF_BUSY = 0.5
"""Share of the time from which the store is the limit if all else is idle: on a machine without a free core, much lies
between two transactions. (Seen of a Neo4j beside 16 processes that wanted two cores: 0.58.)"""

ALIKE = 0.1
"""Two stages whose shares differ by less are limits together."""

OFTEN = 0.1
"""Share of the time from which trouble is worth a sentence."""

REPEATED = 0.5
"""Share of records that are stored already from which the load itself is the waste."""

SET_ASIDE = 0.01
"""Share of records that are dead-lettered."""

HALF_EMPTY = 0.5
"""Fill of batches below which more per transaction would help."""

LATE = 0.5
"""Seconds that an event loop may be late."""

LONG = 20.0
"""Seconds without a single record settled that no healthy store needs for a transaction."""

BATCHES_WAITING = 4
"""Full batches that have to wait for something to be a backlog: what is less, a service has in hand anyway."""

SMALL_BATCH = 50
"""Records per transaction up to which what a transaction itself costs is most of its time."""

QUICK = 0.25
"""Seconds up to which a transaction is one that its begin and commit take most of. A service that makes its batches
smaller by itself, for a store that is slow, keeps them at half of its target (1 s) and more."""

SEEN = 20
"""Transactions that must have been seen in the store before anything is said of what they wait for."""

MOSTLY = 0.5
"""Share of those from which it is one thing that they wait for."""

NEARLY = 0.9
"""Share of the broker's memory ceiling from which it is about to block publishers."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """A number that was looked at, and where it would be bad. `metric`: where it comes from. `window`: seconds."""

    meter: str
    value: float
    bound: float
    metric: str
    window: float


def evidence_of(meters: Meters, meter: str, value: float, bound: float, metric: str) -> Evidence:
    """Over the whole window of the meters."""
    return Evidence(meter, value, bound, metric, meters.seconds)


def stages(meters: Meters) -> tuple[Evidence, ...]:
    """What can be busy all the time."""
    return writing(meters), cpu(meters)


def writing(meters: Meters) -> Evidence:
    """How busy the writers are."""
    metric = "spindle_transaction_time_seconds_total"
    meter = "share of the writers' time in transactions" + (f", {meters.kind}" if meters.of_kind else "")
    return evidence_of(meters, meter, meters.writing, BUSY, metric)


def cpu(meters: Meters) -> Evidence:
    """How busy our own process is."""
    metric = "process_cpu_seconds_total"
    return evidence_of(meters, "CPU seconds per second of the busiest replica", meters.cpu, BUSY, metric)


def lag(meters: Meters) -> Evidence:
    """Whether the process gets the core that it wants."""
    metric = "spindle_event_loop_lag_seconds"
    return evidence_of(meters, "seconds that the event loop was late", meters.lag, LATE, metric)


def failing(meters: Meters) -> Evidence:
    """What went into transactions for nothing."""
    metric = 'spindle_transaction_time_seconds_total{result!="stored"}'
    return evidence_of(meters, "share of the writers' time in failed transactions", meters.failing, OFTEN, metric)


def away(meters: Meters) -> Evidence:
    """How long the breaker was open."""
    metric = "spindle_store_breaker_open"
    return evidence_of(meters, "share of the looks with the breaker open", meters.away, OFTEN, metric)


def alarm(meters: Meters) -> Evidence:
    """How long RabbitMQ blocked publishers."""
    metric = "RabbitMQ: mem_alarm, disk_free_alarm"
    return evidence_of(meters, "share of the looks with an alarm", meters.blocked or 0.0, OFTEN, metric)


def dead_lettered(meters: Meters) -> Evidence:
    """What was set aside."""
    share, metric = meters.share_of(Outcome.DEAD_LETTERED), 'spindle_records_total{outcome="dead_lettered"}'
    return evidence_of(meters, "share of records dead-lettered", share, SET_ASIDE, metric)


def stored_already(meters: Meters) -> Evidence:
    """What needed no writing."""
    share = meters.paced_share_of(Outcome.UNCHANGED, Outcome.STALE, Outcome.SUPERSEDED)
    metric = 'spindle_records_total{outcome=~"unchanged|stale|superseded"}'
    return evidence_of(meters, "share of records unchanged, stale or superseded", share, REPEATED, metric)


def fill(meters: Meters) -> Evidence:
    """How full batches were."""
    metric = "spindle_batch_size_records_sum / spindle_batch_room_records_total"
    meter = "fill of batches" + (f", {meters.kind}" if meters.kind and meters.several else "")
    return evidence_of(meters, meter, meters.fill or 0.0, HALF_EMPTY, metric)


def in_hand(meters: Meters) -> Evidence:
    """Whether the prefetch lets batches be full."""
    metric = "spindle_unacknowledged_deliveries"
    return evidence_of(
        meters, "deliveries of a kind in hand at the most", meters.unsettled, needed_in_hand(meters), metric
    )


def sent(meters: Meters) -> Evidence:
    """Whether RabbitMQ has sent as much as batches need to be full."""
    metric = "RabbitMQ: messages_unacknowledged"
    meter = "deliveries of a kind that RabbitMQ has sent, at the most"
    return evidence_of(meters, meter, meters.sent or 0.0, needed_in_hand(meters), metric)


def size(meters: Meters) -> Evidence:
    """Whether what a transaction itself costs is most of its time."""
    metric = "spindle_batch_size_records_sum / spindle_batch_size_records_count"
    return evidence_of(meters, "records of a batch, on the average", meters.size or 0.0, SMALL_BATCH, metric)


def broker_memory(meters: Meters) -> Evidence:
    """How near RabbitMQ is to blocking publishers."""
    metric = "RabbitMQ: mem_used / mem_limit"
    return evidence_of(meters, "share of RabbitMQ's memory ceiling", meters.broker_memory or 0.0, NEARLY, metric)


def flow_control(meters: Meters) -> Evidence:
    """How long RabbitMQ slowed publishers down."""
    metric = "RabbitMQ: state of connections"
    return evidence_of(meters, "share of the looks with flow control", meters.flow or 0.0, MOSTLY, metric)


def waiting(meters: Meters, wait: Wait) -> Evidence:
    """What share of the transactions in the store did this."""
    metric = "SHOW TRANSACTIONS" if meters.service is Service.GRAPHINATOR else "pg_stat_activity"
    meter = f"share of {meters.seen:,} transactions seen in the store: {wait}"
    return evidence_of(meters, meter, meters.share_in(wait), MOSTLY, metric)


def under_way(meters: Meters) -> Evidence:
    """What share of them waited for us while we did not compute (for one's rows all wait), beside those that worked."""
    shown = waiting(meters, Wait.CLIENT)
    under_way = max(0.0, shown.value - meters.cpu)
    return replace(shown, meter=f"{shown.meter}, beyond our own CPU", value=under_way, bound=1 - shown.value)


def needed_in_hand(meters: Meters) -> float:
    """Deliveries in hand without which batches can't be full while all writers are busy."""
    return (meters.writers / max(1, meters.sharing) + 1) * meters.batch * meters.sharing
