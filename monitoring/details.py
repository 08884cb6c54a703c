"""The overview below its first screen: rows that one unfolds for a reason."""

from collections.abc import Sequence

from common.kinds import Service
from monitoring import signals
from monitoring.panels import RATE, Panel, Query, Row, line, number
from monitoring.promql import (
    BASELINE,
    BY_KIND,
    FULL_LOAD,
    MESSAGES,
    QUEUES,
    TIME_LEFT,
    ever,
    mean,
    quantile,
    rate,
    with_same,
)

_KIND = "{{service}} {{kind}}"
_RECORDS = "spindle_records_total"
_LATENCY = "spindle_publish_to_commit_seconds"
_TRANSACTION = "spindle_transaction_duration_seconds"
_TIME = "spindle_transaction_time_seconds_total"
# The most that any process of a service says.
_BREAKERS = (
    'max by (service, store) (2 * spindle_store_breaker_state{state="open"}'
    ' or spindle_store_breaker_state{state="half-open"})'
)
_LAST_CHECK = f"max by ({BY_KIND}) (spindle_load_checked_timestamp_seconds > 0)"
# What nobody has compared is neither missing nor there.
_CHECKED = f"and on ({BY_KIND}) {_LAST_CHECK}"


def details() -> Sequence[Row]:
    """Its rows."""
    return (
        Row("More on what is wrong", _wrong(), collapsed=True),
        Row("More on how fast", _fast(), collapsed=True),
        Row("More on loads", _loads(), collapsed=True),
        Row("More on how far and how fresh", _far_and_fresh(), collapsed=True),
        Row("More on what limits it", _limits(), collapsed=True),
    )


def _wrong() -> Sequence[Panel]:
    return (
        line(
            "Databases over time",
            "1 while a store can't be written to, 2 while it needs a person.",
            Query(f"{signals.STORE_HELD.value} + {signals.STORE_ALARM.value}", "{{service}} {{store}}"),
            otherwise="No service tells",
        ),
        number(
            "Breakers",
            "Closed: everybody writes. Open: nobody does, and one record is tried again and again. Half-open: one "
            "batch shows whether the database takes any.",
            Query(
                _BREAKERS,
                "{{service}} {{store}}",
                words={0: "closed", 1: "half-open", 2: "open"},
                signal=signals.STORE_HELD,
            ),
            width=8,
            height=8,
            listed=True,
            otherwise="No service tells",
        ),
        line(
            "Tries at a database that is away",
            "How many have failed since it took the last write, and the seconds to the next one, of the process with "
            "most. The waits between them: RETRY_STRATEGY.",
            Query("max by (service) (spindle_store_breaker_failures)", "{{service}} failed", colour="red"),
            Query(
                "max by (service) (spindle_store_breaker_next_trial_seconds)",
                "{{service}} seconds to the next",
                dashed=True,
            ),
        ),
        line(
            "Kinds that stop over time",
            "Those whose deliveries are back with the broker, and those that the store refuses altogether.",
            Query("sum by (service) (spindle_handed_back)", "{{service}} handed back"),
            Query(
                f"sum by (service) ({signals.REFUSING_EVERYTHING.value})",
                "{{service}} refusing everything",
                dashed=True,
            ),
        ),
        line(
            "Records held back",
            "Suspects: refused for an unknown reason, they wait for evidence. Held: while everything is refused. "
            "Not confirmed: set aside, and RabbitMQ has not taken them yet.",
            Query("sum by (service) (spindle_suspects)", "{{service}} suspects"),
            Query("sum by (service) (spindle_held_dead_letters)", "{{service}} held", colour="red"),
            Query("sum by (service) (spindle_dead_letters_unconfirmed)", "{{service}} not confirmed", dashed=True),
        ),
        line(
            "Expired deliveries",
            "Per minute: their channel ended before they were settled, and they come again.",
            Query("round(sum by (service) (increase(spindle_expired_deliveries_total[1m])))", "{{service}}"),
        ),
        line(
            "Reconnects",
            "Per ten minutes: connections or channels lost and begun again, of the kind with most.",
            Query(f"round(max by (service) ({signals.RECONNECTS.value}))", "{{service}}"),
            signal=signals.RECONNECTS,
        ),
        line(
            "RabbitMQ's alarms and blocks",
            "1 while its memory or disk lets nobody publish, or while it blocks a service.",
            Query(signals.BROKER_MEMORY.value, "memory", colour="red"),
            Query(signals.BROKER_DISK.value, "disk", colour="purple"),
            Query("max by (service) (spindle_publishing_blocked)", "{{service}} blocked", dashed=True),
        ),
        line(
            "Consumers",
            "How many consumers a queue has: one per replica that reads it. Two of one service differ where a kind is "
            "left out, or a queue is a left-over of another prefix.",
            *(
                Query(f"{least} by (service) ({_consumers()})", f"{{{{service}}}} {word}", dashed=least == "min")
                for least, word in (("min", "least"), ("max", "most"))
            ),
        ),
        line(
            "Log lines dropped",
            "Per minute: the log's reader does not keep up, and nothing waits for it.",
            Query("round(sum by (job) (increase(spindle_log_lines_dropped_total[1m])))", "{{job}}"),
        ),
        line(
            "Spans dropped",
            "Per minute, if TRACING is on: the collector does not take them, or not as fast as they are made.",
            Query('round(sum by (service) (increase(spindle_trace_spans_total{result="dropped"}[1m])))', "{{service}}"),
        ),
        number(
            "Versions",
            "Processes by version.",
            Query("count by (service, version) (spindle_build_info)", "{{service}} {{version}}"),
            width=8,
            height=8,
            coloured=False,
        ),
    )


def _consumers() -> str:
    """The consumers of each queue of records, with the service that its name ends in."""
    queue = f'rabbitmq_detailed_queue_consumers{{queue=~"{QUEUES}"}}'
    return f'label_replace({queue}, "service", "$1", "queue", "{QUEUES}")'


def _fast() -> Sequence[Panel]:
    return (
        *(
            line(
                f"Records by outcome: {service}",
                "Per second. Stale: older than what is stored; superseded: beaten by a newer version in its batch.",
                Query(rate(_RECORDS, RATE, by="outcome", where=f'service="{service}"'), "{{outcome}}"),
                width=8,
                stacked=True,
            )
            for service in Service
        ),
        line(
            "Against its own median",
            "Throughput behind a backlog that is mostly written, as a share of its median over 30 days.",
            Query(with_same(BY_KIND, FULL_LOAD, "/", BASELINE), _KIND),
            unit="percentunit",
            signal=signals.THROUGHPUT,
            otherwise="Needs an hour of large loads",
        ),
        *(
            line(
                f"Records by kind: {service}",
                "Per second, whatever became of them.",
                Query(rate(_RECORDS, RATE, by="kind", where=f'service="{service}"'), "{{kind}}"),
                width=8,
            )
            for service in Service
        ),
        line(
            "Files and loads complete",
            "Control messages handled in the last hour.",
            Query(
                "round(sum by (service, type) (increase(spindle_control_messages_total[1h])))", "{{service}} {{type}}"
            ),
        ),
    )


def _loads() -> Sequence[Panel]:
    """What the stores' ledgers say of the newest load."""
    checked = f"time() - {_LAST_CHECK}"
    return (
        number(
            "Newest load",
            "The newest load of which a store's ledger knows anything, by its date; 0: of none.",
            Query(f"max by ({BY_KIND}) (spindle_load)", _KIND),
            width=8,
            height=8,
            coloured=False,
            listed=True,
        ),
        number(
            "Complete?",
            "Whether a check has found all of the newest load in the store.",
            Query(
                f"{signals.LOAD_COMPLETE.value} {_CHECKED}",
                _KIND,
                words={0: "incomplete", 1: "complete"},
                signal=signals.LOAD_COMPLETE,
            ),
            width=8,
            height=8,
            listed=True,
            otherwise="Never checked",
        ),
        number(
            "Missing or different",
            "Records of the newest load that its last check did not find in the store as they were published.",
            Query(f"{signals.LOAD_MISSING.value} {_CHECKED}", _KIND, signal=signals.LOAD_MISSING),
            width=8,
            height=8,
            listed=True,
            otherwise="Never checked",
        ),
        number(
            "Age of the last check",
            "Since the newest load was last compared with its manifest.",
            Query(checked, _KIND),
            unit="s",
            width=8,
            height=8,
            coloured=False,
            listed=True,
            otherwise="Never checked",
        ),
        *(
            line(
                f"Records of the newest load: {service}",
                "As the store's ledger counts them over all processes: new and changed exactly, the others at least "
                "once.",
                Query(
                    f'sum by (outcome) (max by (kind, outcome) (spindle_load_records{{service="{service}"}}))',
                    "{{outcome}}",
                ),
                Query(
                    f'sum(max by (kind) (spindle_load_published_records{{service="{service}"}}))',
                    "published",
                    dashed=True,
                ),
            )
            for service in Service
        ),
    )


def _far_and_fresh() -> Sequence[Panel]:
    return (
        *(
            line(
                f"Messages by kind: {service}",
                "Those that wait and those given out.",
                Query(f'sum by (kind) ({MESSAGES}{{service="{service}"}})', "{{kind}}"),
            )
            for service in Service
        ),
        line(
            "In hand",
            "Deliveries that RabbitMQ awaits an answer for.",
            Query("sum by (service) (spindle_unacknowledged_deliveries)", "{{service}}"),
        ),
        line(
            "Time left over time",
            "For the kind that takes longest; nothing where one stands still.",
            Query(f"max by (service) ({TIME_LEFT})", "{{service}}"),
            unit="s",
        ),
        line(
            "Age when stored, the slowest hundredth",
            "p99 of the kind with the oldest. Its alert looks only where there has been neither a backlog nor an "
            "outage for ten minutes.",
            Query(f"max by (service) ({quantile(0.99, _LATENCY, RATE)})", "{{service}}"),
            unit="s",
            signal=signals.LATENCY,
            logarithmic=True,
            otherwise="Nothing was stored",
        ),
        line(
            "Oldest in hand",
            "As a share of RabbitMQ's consumer timeout, at which it takes everything back.",
            Query(f"max by (service) ({signals.OLDEST.value})", "{{service}}"),
            unit="percentunit",
            signal=signals.OLDEST,
        ),
    )


def _limits() -> Sequence[Panel]:
    return (
        line(
            "Batch fill",
            "What batches held, of what they could have held; low is wrong only behind a backlog. The emptiest kind.",
            Query(f"min by (service) ({signals.BATCH_FILL.value})", "{{service}}"),
            unit="percentunit",
            signal=signals.BATCH_FILL,
            top=1,
            otherwise="No batches",
        ),
        line(
            "Writing a batch (half of them, 95%)",
            "All its transactions together, without waiting for a turn or for the store.",
            Query(quantile(0.5, "spindle_batch_duration_seconds", RATE, by="service"), "{{service}} half", dashed=True),
            Query(quantile(0.95, "spindle_batch_duration_seconds", RATE, by="service"), "{{service}} 95%"),
            unit="s",
            otherwise="No batches",
        ),
        line(
            "Store time (mean, 95%)",
            "One transaction that stored something.",
            Query(mean(_TRANSACTION, RATE, by="service"), "{{service}} mean", dashed=True),
            Query(quantile(0.95, _TRANSACTION, RATE, by="service"), "{{service}} 95%"),
            unit="s",
            otherwise="Nothing was stored",
        ),
        line(
            "Time in transactions that failed",
            "How many writers at a time are busy with them, on average.",
            Query(
                ever(rate(_TIME, RATE, by="service, result", where='result!="stored"'), _TIME, by="service, result"),
                "{{service}} {{result}}",
            ),
            otherwise="None failed",
        ),
        line(
            "Connections to the databases",
            "In use, and how many there may be.",
            Query("sum by (service) (spindle_pool_in_use_connections)", "{{service}} in use"),
            Query("sum by (service) (spindle_pool_size_connections)", "{{service}} at the most", dashed=True),
        ),
        line(
            "Event loop lag",
            "The longest delay in ten seconds: something blocks, or there is no CPU.",
            Query(signals.LOOP_LAG.value, "{{service}}"),
            unit="s",
            signal=signals.LOOP_LAG,
        ),
        line(
            "RabbitMQ's memory and disk, of their limits",
            "At 100% of either it lets nobody publish.",
            *(
                Query(f"clamp_max({used} / {limit}, 1)", name)
                for used, limit, name in (
                    ("rabbitmq_process_resident_memory_bytes", "rabbitmq_resident_memory_limit_bytes", "memory"),
                    ("rabbitmq_disk_space_available_limit_bytes", "rabbitmq_disk_space_available_bytes", "disk"),
                )
            ),
            unit="percentunit",
        ),
        line(
            "Memory of the services",
            "Of the process with most.",
            Query(f"max by (job) (process_resident_memory_bytes{{{signals.OURS}}})", "{{job}}"),
            unit="bytes",
        ),
        line(
            "Writers",
            "Busy on average, and how many there may be.",
            Query(rate(_TIME, RATE, by="service"), "{{service}} busy"),
            Query("sum by (service) (spindle_writers)", "{{service}} at the most", dashed=True),
        ),
    )
