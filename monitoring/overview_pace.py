"""The overview's first four rows: is it healthy, how fast, how far, how fresh."""

from collections.abc import Sequence

from monitoring import signals
from monitoring.panels import RATE, Panel, Query, line, number
from monitoring.promql import BASELINE, BY_KIND, DEAD, FULL_LOAD, MESSAGES, TIME_LEFT, quantile, rate, with_same

_KIND = "{{service}} {{kind}}"
_RECORDS = "spindle_records_total"


def healthy() -> Sequence[Panel]:
    """What stands, and what is firing."""
    return (
        number(
            "Alerts firing",
            "What is firing now, and for how many services and kinds.",
            Query(signals.FIRING.value, "{{alertname}}"),
            signal=signals.FIRING,
        ),
        number(
            "Answering",
            "Whether the last scrape of every process was answered.",
            Query(signals.UP.value, "{{job}}"),
            signal=signals.UP,
            words={0: "down", 1: "up"},
        ),
        number(
            "Store",
            "Held: the store can't be written to, batches are kept and one of them is tried again and again.",
            Query(signals.STORE_HELD.value, "{{store}}"),
            signal=signals.STORE_HELD,
            words={0: "available", 1: "held"},
        ),
        number(
            "Broker connection",
            "Whether all sources can receive.",
            Query("min by (service) (spindle_broker_connected)", "{{service}}"),
            signal=signals.BROKER_CONNECTED,
            words={0: "lost", 1: "connected"},
        ),
        number(
            "Dead letters waiting",
            "Records that are missing in a store, or their newest version, until they are replayed or dropped.",
            Query(f"sum by (service) ({DEAD})", "{{service}}"),
            signal=signals.DEAD_LETTERS_WAITING,
        ),
        number(
            "Replicas",
            "Processes by version.",
            Query("count by (service, version) (spindle_build_info)", "{{service}} {{version}}"),
        ),
    )


def fast() -> Sequence[Panel]:
    """Records per second, and what became of them."""
    settled = [
        ("written", "new|changed"),
        ("unchanged", "unchanged|stale|superseded"),
        ("dead-lettered", "dead_lettered"),
    ]
    return (
        number(
            "Records per second",
            "Settled over the last ten seconds, all kinds and replicas.",
            Query("sum by (service) (spindle_records_per_second)", "{{service}}"),
            unit="reqps",
        ),
        line(
            "Records settled",
            "Records per second by service and kind, whatever became of them.",
            Query(rate(_RECORDS, RATE), _KIND),
            unit="reqps",
            width=7,
        ),
        line(
            "What became of them",
            "Written: new or changed. Unchanged: also those older than what is stored, and those a newer version beat.",
            *(
                Query(rate(_RECORDS, RATE, by="service", where=f'outcome=~"{outcomes}"'), f"{{{{service}}}} {name}")
                for name, outcomes in settled
            ),
            unit="reqps",
            width=7,
        ),
        line(
            "Against its own median",
            "Throughput behind a backlog that is mostly written, as a share of its median over 30 days.",
            Query(with_same(BY_KIND, FULL_LOAD, "/", BASELINE), _KIND),
            unit="percentunit",
            signal=signals.THROUGHPUT,
            width=6,
        ),
    )


def far() -> Sequence[Panel]:
    """What is left, and for how long."""
    return (
        number(
            "Time to the end",
            "Messages left by the rate of the last minute, for the kind that takes longest. Arrivals are not counted. "
            "Nothing where a kind with messages stands still.",
            Query(
                f"max by (service) ({TIME_LEFT}) unless on (service) ({MESSAGES} unless on ({BY_KIND}) {TIME_LEFT})",
                "{{service}}",
            ),
            unit="s",
        ),
        line(
            "Queue depth",
            "Messages that wait or are given out.",
            Query(MESSAGES, _KIND),
            unit="short",
            width=7,
        ),
        line(
            "In flight",
            "Deliveries that the broker awaits an answer for.",
            Query(f"sum by ({BY_KIND}) (spindle_unacknowledged_deliveries)", _KIND),
            unit="short",
            width=7,
        ),
        line(
            "Control messages",
            "Files and loads that were said to be complete, in the last hour.",
            Query("sum by (service, type) (increase(spindle_control_messages_total[1h]))", "{{service}} {{type}}"),
            unit="short",
            width=6,
        ),
    )


def fresh() -> Sequence[Panel]:
    """How old records are when they are committed."""
    latency = "spindle_publish_to_commit_seconds"
    return (
        line(
            "From publish to commit",
            "Quantiles over all kinds. Behind a backlog this is the length of the queue.",
            *(
                Query(quantile(share, latency, RATE, by="service"), f"{{{{service}}}} p{share * 100:g}")
                for share in (0.5, 0.95, 0.99)
            ),
            unit="s",
            width=8,
        ),
        line(
            "p99 by kind",
            "The alert looks at it only where there has been neither a backlog nor an outage for ten minutes.",
            Query(quantile(0.99, latency, RATE), _KIND),
            unit="s",
            signal=signals.LATENCY,
            width=8,
        ),
        line(
            "Oldest unacknowledged",
            "As a share of the broker's consumer timeout, at which it takes everything back.",
            Query(signals.OLDEST.value, _KIND),
            unit="percentunit",
            signal=signals.OLDEST,
            width=8,
        ),
    )
