"""The overview's first screen: 25 rows of Grafana's grid, which 1080 lines show.

Healthy, wrong, how fast, how far, how fresh, and what limits it: the numbers first, so that 768 lines show them all.
"""

from collections.abc import Sequence

from monitoring import signals
from monitoring.panels import RATE, Panel, Query, Row, alerts, line, names, number
from monitoring.promql import BY_KIND, DEAD, MESSAGES, READY, STILL, TIME_LEFT, ever, quantile, rate, with_same
from monitoring.signals import Signal

_RECORDS = "spindle_records_total"
_LATENCY = "spindle_publish_to_commit_seconds"
_TIME = "spindle_transaction_time_seconds_total"
_OLDEST = "max by (service) (spindle_oldest_unacknowledged_seconds)"
_SERVICE = "{{service}}"


def first_screen() -> Sequence[Row]:
    """Its rows."""
    return (
        Row("Is it healthy?", _healthy()),
        Row("What is wrong?", _wrong()),
        Row("How fast, how far, how fresh, and what limits it?", [*_answers(), *_curves()]),
    )


def _healthy() -> Sequence[Panel]:
    nobody = 'label_replace(vector(0), "kind", "none", "", "")'
    return (
        number(
            "Processes up",
            "How many processes answer; DOWN where one of them does not, or none is there. A broker is up where the "
            "metrics of its queues are there too.",
            Query(signals.PROCESSES.value, "{{process}}", words={0: "DOWN"}, signal=signals.PROCESSES),
            width=5,
            listed=True,
        ),
        number(
            "Databases",
            "DOWN: batches are kept, and one of them is tried again and again. NEEDS YOU: what it answers will not "
            "change by waiting. Not known: no service that asks it is running.",
            Query(
                signals.STORES.value,
                "{{store}}",
                words={0: "writable", 1: "DOWN", 2: "NEEDS YOU", 3: "not known"},
                signal=signals.STORES,
            ),
            width=5,
            listed=True,
        ),
        number(
            "RabbitMQ",
            "Whether all kinds of a service can receive, and whether anybody can publish: dead letters need it too.",
            Query(
                "min by (service) (spindle_broker_connected)",
                _SERVICE,
                words={0: "LOST", 1: "connected"},
                signal=signals.BROKER_CONNECTED,
            ),
            Query(
                signals.PUBLISHING.value,
                "publishers",
                words={0: "ok", 1: "memory FULL", 2: "disk FULL", 3: "memory, disk FULL", 4: "BLOCKED"},
                signal=signals.PUBLISHING,
            ),
            width=6,
            listed=True,
        ),
        names(
            "Stopped kinds",
            "Kinds of which records wait and none is stored: in red those of which the store refuses every record, or "
            "that were handed back to the broker after a long hold; in orange all others.",
            Query(f"topk(4, {signals.STOPPED.value}) or on () {nobody}", "{{service}} {{kind}}"),
            width=4,
            height=4,
        ),
        number(
            "Dead letters",
            "Records that are missing in a store, or their newest version. Waiting: until they are replayed or "
            "dropped. Held: under suspicion, or everything is refused. Not confirmed: RabbitMQ has not taken them yet.",
            Query(f"sum({DEAD})", "waiting", signal=signals.DEAD_LETTERS_WAITING),
            Query(signals.DEAD_LETTERS_HELD.value, "held", signal=signals.DEAD_LETTERS_HELD),
            Query("sum(spindle_dead_letters_unconfirmed)", "not confirmed", signal=signals.DEAD_LETTERS_UNCONFIRMED),
            width=4,
            listed=True,
        ),
    )


def _wrong() -> Sequence[Panel]:
    firing = 'ALERTS{alertstate="firing"}'
    urgent = 'ALERTS{alertstate="firing", severity="critical"}'
    by = "by (alertname, service)"
    none = 'label_replace(vector(0), "alertname", "Nothing fires", "", "")'
    return (
        alerts(
            "Alerts firing",
            Query(
                f"topk(6, 2 * max {by} ({urgent}) or max {by} ({firing})) or on () {none}", "{{alertname}} {{service}}"
            ),
            width=10,
            height=6,
        ),
        line(
            "Failed transactions, per second",
            "Transactions that stored nothing, by how they ended. A conflict is tried again at once; unavailable: the "
            "database does not answer; refused and too large: something in the batch, which is looked for.",
            Query(
                ever(
                    rate("spindle_transactions_total", RATE, by="service, result", where=_NOT_STORED),
                    "spindle_transactions_total",
                    by="service, result",
                ),
                "{{service}} {{result}}",
            ),
            width=7,
            height=6,
            otherwise="None failed",
        ),
        line(
            "Dead letters, per minute",
            "Records that were set aside, by reason, of both services together.",
            Query(
                ever(
                    "round(sum by (reason) (increase(spindle_dead_letters_total[1m])))",
                    "spindle_dead_letters_total",
                    by="reason",
                ),
                "{{reason}}",
            ),
            width=7,
            height=6,
            shades="red",
            otherwise="None set aside",
        ),
    )


_NOT_STORED = 'result!="stored"'


def _answers() -> Sequence[Panel]:
    latest = quantile(0.95, _LATENCY, RATE, by="service")
    left = f"max by (service) ({TIME_LEFT}) unless on (service) ({MESSAGES} unless on ({BY_KIND}) {TIME_LEFT})"
    return (
        number(
            "Records per second",
            "Settled over the last ten seconds: stored, found unchanged, or set aside.",
            Query("sum by (service) (spindle_records_per_second)", _SERVICE),
            unit="short",
            coloured=False,
        ),
        number(
            "Time left",
            "Hours, minutes and seconds to the end at the pace of the last ten seconds, for the kind that takes "
            "longest. What is still published is not counted.",
            Query(
                f"{left} or on (service) sum by (service) ({STILL}) * 0 - 1",
                _SERVICE,
                words={-1: "stands still", 0: "nothing left"},
                signal=Signal("", bad=0, below=True),
            ),
            unit="dthms",
            otherwise="not known yet",
        ),
        number(
            "Age of records",
            "Stored: how old 95% of the records were at the most when they were committed. Behind a backlog that is "
            "the length of the queue. In hand: for how long the oldest that a service has received has waited.",
            Query(f"{latest} >= 0", "{{service}} stored"),
            Query(f"{_OLDEST} > 0", "{{service}} in hand"),
            unit="s",
            decimals=1,
            otherwise="nothing to store",
            coloured=False,
            listed=True,
        ),
        names(
            "What limits it",
            "What is fullest of each service. Nothing waits: it keeps up with the producers. Neither: look "
            "at RabbitMQ, the network, and the machine's CPU.",
            Query(f"topk by (service) (1, {' or '.join(_limits())})", "{{service}}: {{limit}}"),
            width=6,
            height=4,
            otherwise="not known yet",
        ),
    )


def _curves() -> Sequence[Panel]:
    return (
        line(
            "Published and settled, per second",
            "A record is published once and settled by each service.",
            Query("sum(rate(rabbitmq_global_messages_received_total[$__rate_interval]))", "published", dashed=True),
            Query(rate(_RECORDS, RATE, by="service"), _SERVICE),
            width=6,
        ),
        line(
            "Messages in the queues",
            "Those that wait and those given out.",
            Query(f"sum by (service) ({MESSAGES})", _SERVICE),
            width=6,
        ),
        line(
            "Age when stored (half of them, 95%)",
            "From publish to commit.",
            Query(quantile(0.5, _LATENCY, RATE, by="service"), "{{service}} half", dashed=True),
            Query(quantile(0.95, _LATENCY, RATE, by="service"), "{{service}} 95%"),
            unit="s",
            width=6,
            logarithmic=True,
            otherwise="Nothing was stored",
        ),
        line(
            "How busy",
            "Its database: the share of its writers' time that a service spends in transactions, of the kind with "
            "most. Its process: of one CPU.",
            Query(_database(), "{{service}} database"),
            Query(_process(), "{{service}} process", dashed=True),
            unit="percentunit",
            width=6,
            top=1,
        ),
    )


def _database() -> str:
    use = with_same(BY_KIND, rate(_TIME, RATE), "/", f"sum by ({BY_KIND}) (spindle_writers)")
    return f"max by (service) ({use})"


def _process() -> str:
    busy = f"max by (job) (rate(process_cpu_seconds_total{{{signals.OURS}}}[{RATE}]))"
    return f'sum by (service) (label_replace({busy}, "service", "$1", "job", "(.+)"))'


def _limits() -> Sequence[str]:
    """What may limit a service, as shares; and 2 where the limit is a trouble, -1 if there is none."""

    def named(expression: str, limit: str) -> str:
        return f'label_replace({expression}, "limit", "{limit}", "", "")'

    down = "max by (service) (spindle_store_breaker_open)"
    return (
        named(f"2 * {down} > 0", "its database is DOWN"),
        named(f"sum by (service) ({READY}) == 0", "nothing waits"),
        named(f"{_database()} > 0.7", "its database"),
        named(f"{_process()} > 0.7", "its own CPU"),
        named(f"{down} * 0 - 0.5", "neither database nor CPU"),
    )
