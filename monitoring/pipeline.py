"""One pipeline in depth: a service, a kind, and every step between its queue and its store."""

from collections.abc import Sequence

from monitoring import signals
from monitoring.panels import RATE, Panel, Query, Row, choice, cloud, line
from monitoring.promql import BACKLOG, DEAD, FILL, MESSAGES, READY, TIME_LEFT, ever, mean, quantile, rate

_ONE = 'service="$service", kind="$kind"'
_HERE = f"{{{_ONE}}}"
VARIABLES = (
    choice("service", "Service", "label_values(spindle_batch_size_limit_records, service)"),
    choice("kind", "Kind", 'label_values(spindle_batch_size_limit_records{service="$service"}, kind)'),
)


def rows() -> Sequence[Row]:
    """Its rows, along the way of a record."""
    return (
        Row("Queue and source", _source()),
        Row("Batches", _batches()),
        Row("Store", _store()),
        Row("Settled", _settled()),
        Row("Trouble", _trouble()),
    )


def _source() -> Sequence[Panel]:
    return (
        line(
            "Queue",
            "Messages that wait; those and the ones given out; in the dead-letter queue.",
            Query(f"{READY}{_HERE}", "waiting"),
            Query(f"{MESSAGES}{_HERE}", "with those given out", dashed=True),
            Query(f"{DEAD}{_HERE}", "dead letters"),
        ),
        line(
            "Waiting batches",
            "Messages that wait, in full batches.",
            Query(f"{BACKLOG}{_HERE}", "batches"),
        ),
        line(
            "In flight",
            "Deliveries unacknowledged, per replica.",
            Query(f"spindle_unacknowledged_deliveries{_HERE}", "{{instance}}"),
        ),
        line(
            "Oldest unacknowledged",
            "Age of the oldest delivery, and the broker's consumer timeout.",
            Query(f"spindle_oldest_unacknowledged_seconds{_HERE}", "{{instance}}"),
            Query(f"min(spindle_consumer_timeout_seconds{_HERE})", "consumer timeout", dashed=True),
            unit="s",
        ),
        line(
            "Connected",
            "1 while the source can receive.",
            Query(f"spindle_broker_connected{_HERE}", "{{instance}}"),
            unit="short",
            signal=signals.BROKER_CONNECTED,
        ),
        line(
            "Channels lost, deliveries expired",
            "Per minute.",
            Query(f"round(sum(increase(spindle_broker_reconnects_total{_HERE}[1m])))", "reconnects"),
            Query(f"round(sum(increase(spindle_expired_deliveries_total{_HERE}[1m])))", "expired"),
            unit="short",
        ),
    )


def _batches() -> Sequence[Panel]:
    size = "spindle_batch_size_records"
    return (
        cloud(
            "Batch sizes",
            "How many batches of which size.",
            Query(rate(f"{size}_bucket", RATE, by="le", where=_ONE), "{{le}}"),
            unit="short",
        ),
        line(
            "What closes batches",
            "Batches per second, by trigger.",
            Query(rate(f"{size}_count", RATE, by="trigger", where=_ONE), "{{trigger}}"),
            otherwise="No batches",
        ),
        line(
            "Batch fill",
            "What batches held, of what they could have held.",
            Query(f"{FILL}{_HERE}", "fill"),
            unit="percentunit",
            signal=signals.BATCH_FILL,
            top=1,
            otherwise="No batches",
        ),
        line(
            "Mean batch and limit",
            "Records.",
            Query(mean(size, RATE, where=_ONE), "mean"),
            Query(f"max(spindle_batch_size_limit_records{_HERE})", "limit", dashed=True),
            unit="short",
        ),
        cloud(
            "Batch durations",
            "Writing one batch: all its transactions together, without waiting.",
            Query(rate("spindle_batch_duration_seconds_bucket", RATE, by="le", where=_ONE), "{{le}}"),
            unit="s",
        ),
        line(
            "Batch duration",
            "Quantiles.",
            *_quantiles("spindle_batch_duration_seconds"),
            unit="s",
            otherwise="No batches",
        ),
    )


def _store() -> Sequence[Panel]:
    duration = "spindle_transaction_duration_seconds"
    return (
        line(
            "Store time",
            "One transaction that stored something.",
            *_quantiles(duration),
            unit="s",
            otherwise="Nothing was stored",
        ),
        line(
            "Transactions",
            "Per second, by how they ended.",
            Query(rate("spindle_transactions_total", RATE, by="result", where=_ONE), "{{result}}"),
        ),
        line(
            "Writers",
            "How many are in the store at a time on average, and how many there may be.",
            Query(rate("spindle_transaction_time_seconds_total", RATE, where=_ONE), "in the store"),
            Query(f"sum(spindle_writers{_HERE})", "at the most", dashed=True),
            unit="short",
        ),
    )


def _settled() -> Sequence[Panel]:
    latency = "spindle_publish_to_commit_seconds"
    return (
        line(
            "Records by outcome",
            "Per second.",
            Query(rate("spindle_records_total", RATE, by="outcome", where=_ONE), "{{outcome}}"),
            stacked=True,
        ),
        line(
            "Records by replica",
            "Per second.",
            Query(rate("spindle_records_total", RATE, by="instance", where=_ONE), "{{instance}}"),
        ),
        line(
            "Time left",
            "At the pace of the last ten seconds; nothing while it stands still.",
            Query(f"{TIME_LEFT}{_HERE}", "left"),
            unit="s",
        ),
        line(
            "Age when stored",
            "From publish to commit, quantiles.",
            *_quantiles(latency),
            unit="s",
            signal=signals.LATENCY,
            logarithmic=True,
            otherwise="Nothing was stored",
        ),
        cloud(
            "Age when stored, all of it",
            "Sampled evenly within each batch.",
            Query(rate(f"{latency}_bucket", RATE, by="le", where=_ONE), "{{le}}"),
            unit="s",
        ),
        line(
            "Files and loads complete",
            "Control messages handled in the last hour.",
            Query(f"round(sum by (type) (increase(spindle_control_messages_total{_HERE}[1h])))", "{{type}}"),
            unit="short",
        ),
    )


def _trouble() -> Sequence[Panel]:
    return (
        line(
            "Dead letters by reason",
            "Per minute.",
            Query(
                ever(
                    f"round(sum by (reason) (increase(spindle_dead_letters_total{_HERE}[1m])))",
                    f"spindle_dead_letters_total{_HERE}",
                    by="reason",
                ),
                "{{reason}}",
            ),
            shades="red",
            otherwise="None set aside",
        ),
        line(
            "Records held back",
            "Suspects: refused with an unknown error, until the evidence is in. Held: while everything is refused.",
            Query(f"sum(spindle_suspects{_HERE})", "suspects"),
            Query(f"sum(spindle_held_dead_letters{_HERE})", "held", colour="red"),
        ),
        line(
            "Holds",
            "1 while it holds.",
            Query(f"max(spindle_refusing_everything{_HERE})", "refusing everything"),
            Query(f"max(spindle_handed_back{_HERE})", "handed back"),
            Query('max(spindle_store_breaker_open{service="$service"})', "store unavailable"),
            unit="short",
            signal=signals.REFUSING_EVERYTHING,
        ),
    )


def _quantiles(histogram: str) -> Sequence[Query]:
    return [Query(quantile(share, histogram, RATE, where=_ONE), f"p{share * 100:g}") for share in (0.5, 0.95, 0.99)]
