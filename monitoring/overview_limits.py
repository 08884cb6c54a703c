"""The overview's last two rows: what limits it, and what is wrong."""

from collections.abc import Sequence

from monitoring import signals
from monitoring.panels import RATE, Panel, Query, line
from monitoring.promql import BY_KIND, QUEUES, mean, quantile, rate, with_same

_KIND = "{{service}} {{kind}}"
_RECORDS = "spindle_records_total"
_TIME = "spindle_transaction_time_seconds_total"


def limits() -> Sequence[Panel]:
    """Batches, writers, connections, loop, broker: which of them is full."""
    transactions = "spindle_transaction_duration_seconds"
    return (
        line(
            "Batch fill",
            "What batches held, of what they could have held; low is wrong only behind a backlog.",
            Query(signals.BATCH_FILL.value, _KIND),
            unit="percentunit",
            signal=signals.BATCH_FILL,
            width=6,
            top=1,
        ),
        line(
            "Writer use",
            "The share of its writers' time that a kind spends in the store. Near 100%: the store is the limit.",
            Query(
                with_same(
                    BY_KIND,
                    rate("spindle_transaction_time_seconds_total", RATE),
                    "/",
                    f"sum by ({BY_KIND}) (spindle_writers)",
                ),
                _KIND,
            ),
            unit="percentunit",
            width=6,
        ),
        line(
            "Pool use",
            "Store connections in use, of those there may be.",
            Query("sum by (service) (spindle_pool_in_use_connections)", "{{service}} in use"),
            Query("sum by (service) (spindle_pool_size_connections)", "{{service}} at the most"),
            unit="short",
            width=6,
        ),
        line(
            "Event loop lag",
            "The longest delay in ten seconds: something blocks, or there is no CPU.",
            Query(signals.LOOP_LAG.value, "{{service}}"),
            unit="s",
            signal=signals.LOOP_LAG,
            width=6,
        ),
        line(
            "Batch duration",
            "Writing one batch: all its transactions together, without waiting for a turn or for the store.",
            Query(quantile(0.5, "spindle_batch_duration_seconds", RATE, by="service"), "{{service}} p50"),
            Query(quantile(0.95, "spindle_batch_duration_seconds", RATE, by="service"), "{{service}} p95"),
            unit="s",
            width=6,
        ),
        line(
            "Store time",
            "One transaction that stored something, tried once.",
            Query(mean(transactions, RATE, by="service"), "{{service}} mean"),
            Query(quantile(0.95, transactions, RATE, by="service"), "{{service}} p95"),
            unit="s",
            width=6,
        ),
        line(
            "Broker and store side by side",
            "Messages that the broker gives out and sees acknowledged, and records that are committed, per second.",
            Query("sum(rate(rabbitmq_global_messages_received_total[$__rate_interval]))", "published"),
            Query("sum(rate(rabbitmq_global_messages_delivered_total[$__rate_interval]))", "delivered"),
            Query("sum(rate(rabbitmq_global_messages_acknowledged_total[$__rate_interval]))", "acknowledged"),
            Query(rate(_RECORDS, RATE, by="service", where='outcome=~"new|changed"'), "{{service}} written"),
            unit="reqps",
            width=6,
        ),
        line(
            "The broker's memory and disk",
            "At 100% of either it lets nobody publish.",
            Query("rabbitmq_process_resident_memory_bytes / rabbitmq_resident_memory_limit_bytes", "memory"),
            Query("rabbitmq_disk_space_available_limit_bytes / rabbitmq_disk_space_available_bytes", "disk"),
            unit="percentunit",
            width=6,
        ),
    )


def wrong() -> Sequence[Panel]:
    """Everything that should be nought."""
    return (
        line(
            "Breaker",
            "1 while a store is held to be unavailable, or needs a person.",
            Query(signals.STORE_HELD.value, "{{store}} held"),
            Query(signals.STORE_ALARM.value, "{{store}} needs a person"),
            unit="short",
            signal=signals.STORE_HELD,
        ),
        line(
            "Holds",
            "Kinds whose deliveries are back with the broker, or that the flood guard holds; and suspected records.",
            Query("sum by (service) (spindle_handed_back)", "{{service}} kinds handed back"),
            Query(f"sum by (service) ({signals.REFUSING_EVERYTHING.value})", "{{service}} kinds refusing everything"),
            Query("sum by (service) (spindle_suspects)", "{{service}} suspects"),
            Query("sum by (service) (spindle_held_dead_letters)", "{{service}} held dead letters"),
            unit="short",
        ),
        line(
            "Dead letters by reason",
            "Per five minutes.",
            Query("sum by (service, reason) (increase(spindle_dead_letters_total[5m])) > 0", "{{service}} {{reason}}"),
            unit="short",
            signal=signals.DEAD_LETTERS,
        ),
        line(
            "Expired deliveries",
            "Per minute: their channel ended before they were settled, and they come again.",
            Query(f"sum by ({BY_KIND}) (increase(spindle_expired_deliveries_total[1m]))", _KIND),
            unit="short",
        ),
        line(
            "Reconnects",
            "Per ten minutes: connections or channels lost and begun again.",
            Query(signals.RECONNECTS.value, _KIND),
            unit="short",
            signal=signals.RECONNECTS,
        ),
        line(
            "Transactions that did not store",
            "Per second, by how they ended. A conflict is tried again at once.",
            Query(
                rate("spindle_transactions_total", RATE, by="service, result", where='result!="stored"'),
                "{{service}} {{result}}",
            ),
            unit="reqps",
        ),
        line(
            "Dead letters without confirm",
            "The broker has not taken them yet; 1 for blocked while its alarm lets nobody publish.",
            Query("sum by (service) (spindle_dead_letters_unconfirmed)", "{{service}} unconfirmed"),
            Query("max by (service) (spindle_publishing_blocked)", "{{service}} blocked"),
            unit="short",
        ),
        line(
            "Broker alarms",
            "1 while nobody may publish.",
            Query(signals.BROKER_MEMORY.value, "memory"),
            Query(signals.BROKER_DISK.value, "disk"),
            unit="short",
            signal=signals.BROKER_MEMORY,
        ),
        line(
            "Consumers",
            "How many consumers a queue has: one per replica that reads it.",
            Query(f'sum by (queue) (rabbitmq_detailed_queue_consumers{{queue=~"{QUEUES}"}})', "{{queue}}"),
            unit="short",
        ),
    )
