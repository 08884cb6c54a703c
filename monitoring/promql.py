"""Expressions that are needed in many places, and the recorded series behind them.

Queue names begin with a prefix that operators choose, so no query names a queue: recording rules turn the end of the
name into the labels `service` and `kind`, which our own metrics carry too.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from common.kinds import KINDS, Service

BY_KIND = "service, kind"
_SERVICES = "|".join(Service)
_KINDS = "|".join(KINDS)
QUEUES = f".+-({_SERVICES})-({_KINDS})"
"""A pattern for the names of all queues of records, with whatever prefix."""
_STEP = 5  # minutes between the points of which a month's median is made


@dataclass(frozen=True, slots=True)
class Recording:
    """A recorded series: its name and what it is."""

    name: str
    expression: str
    meaning: str


def rate(counter: str, window: str, *, by: str = BY_KIND, where: str = "") -> str:
    """Increase per second, summed over replicas."""
    return f"sum by ({by}) (rate({counter}{_braces(where)}[{window}]))"


def quantile(share: float, histogram: str, window: str, *, by: str = BY_KIND, where: str = "") -> str:
    """A quantile of a histogram, over all replicas."""
    return f"histogram_quantile({share:g}, {rate(f'{histogram}_bucket', window, by=f'{by}, le', where=where)})"


def mean(histogram: str, window: str, *, by: str = BY_KIND, where: str = "") -> str:
    """The mean of what a histogram has observed; nothing where it has observed nothing."""
    total, count = (rate(f"{histogram}_{part}", window, by=by, where=where) for part in ("sum", "count"))
    return f"{total} / ({count} > 0)"


def with_same(labels: str, left: str, operator: str, right: str) -> str:
    """Combine series that agree in these labels, whatever other labels they have."""
    return f"{left} {operator} on ({labels}) {right}"


def ever(expression: str, counter: str, *, by: str) -> str:
    """Those series of an expression whose counter has ever counted: the others are zeros that hide them.

    Not those above 0: from one such point to the next there would be a line.
    """
    return f"{expression} and on ({by}) sum by ({by}) ({counter}) > 0"


def _braces(where: str) -> str:
    return f"{{{where}}}" if where else ""


def _queue(metric: str, end: str = "") -> str:
    """Sum a broker's metric over the queues of each service and kind whose name has this end (a pattern)."""
    queue = f"{QUEUES}{end}"
    # A queue is reported by the node that leads it; in a change of leaders two may do so: hence max before sum.
    named = f'max by (vhost, queue) ({metric}{{queue=~"{queue}"}})'
    for label, group in (("service", 1), ("kind", 2)):
        named = f'label_replace({named}, "{label}", "${group}", "queue", "{queue}")'
    return f"sum by ({BY_KIND}) ({named})"


def _pace() -> str:
    """The last ten seconds, as the services count them: over a minute, an outage is neither seen at once nor soon over.

    A kind with few and large batches may settle none in ten seconds: then it is the last half minute. Where it is known
    that nothing is settled, neither counts.
    """
    now = f"sum by ({BY_KIND}) (spindle_records_per_second)"
    return (
        f"({now} > 0 or {rate('spindle_records_total', '30s')} > 0)"
        " unless on (service) max by (service) (spindle_store_breaker_open) > 0"
        f" unless on ({BY_KIND}) max by ({BY_KIND}) (spindle_refusing_everything) > 0"
        f" unless on ({BY_KIND}) max by ({BY_KIND}) (spindle_handed_back) > 0"
    )


def recordings(*, backlog: float, writing_share: float, baseline_minutes: int) -> Sequence[Recording]:
    """Everything that is recorded, in the order in which one needs the other.

    `backlog`: waiting batches that count as one. `writing_share`: of records settled, how many must be new or changed
    for the load to count as one that writes. `baseline_minutes`: how long such loads must have lasted for a baseline.
    """
    limit = f"max by ({BY_KIND}) (spindle_batch_size_limit_records)"
    written = rate("spindle_records_total", "5m", where='outcome=~"new|changed"')
    full_load = f"{FULL_LOAD}[30d:{_STEP}m]"
    return (
        Recording(READY, _queue("rabbitmq_detailed_queue_messages_ready"), "messages that wait"),
        Recording(MESSAGES, _queue("rabbitmq_detailed_queue_messages"), "messages that wait or are given out"),
        Recording(DEAD, _queue("rabbitmq_detailed_queue_messages", "[.]dlq"), "messages in the dead-letter queue"),
        Recording(DEAD_READY, _queue("rabbitmq_detailed_queue_messages_ready", "[.]dlq"), "those that nobody holds"),
        Recording(BACKLOG, with_same(BY_KIND, READY, "/", limit), "full batches that wait"),
        Recording(SETTLED, rate("spindle_records_total", "1m"), "records settled per second"),
        Recording(SETTLED_5M, rate("spindle_records_total", "5m"), "records settled per second"),
        Recording(PACE, _pace(), "records settled per second just now; nothing where a kind stands still"),
        Recording(
            TIME_LEFT,
            # Nothing left is 0 s; with something left and nothing settled there is no end to name, nor is there in the
            # first five seconds after that: the pace is then the beginning's.
            f"{MESSAGES} == 0 or {with_same(BY_KIND, MESSAGES, '/', PACE)} and on ({BY_KIND}) {PACE} offset 5s",
            "seconds to the end, at this pace",
        ),
        # A load that has just begun has settled nothing yet and does not stand still.
        Recording(
            STILL, f"min_over_time({MESSAGES}[30s]) > 0 unless on ({BY_KIND}) {PACE}", "messages that stand still"
        ),
        Recording(
            FILL,
            f"{rate('spindle_batch_size_records_sum', '5m')} / ({rate('spindle_batch_room_records_total', '5m')} > 0)",
            "what batches held, of what they could have held",
        ),
        Recording(
            FULL_LOAD,
            f"{SETTLED_5M} and on ({BY_KIND}) min_over_time({BACKLOG}[5m]) > {backlog:g}"
            f" and on ({BY_KIND}) {written} / {SETTLED_5M} > {writing_share:g}",
            "records settled per second while there is a backlog and most of it is written",
        ),
        Recording(
            BASELINE,
            f"quantile_over_time(0.5, {full_load}) and count_over_time({full_load}) >= {baseline_minutes // _STEP}",
            "median of that over 30 days",
        ),
    )


READY = "spindle:queue_ready:sum"
MESSAGES = "spindle:queue_messages:sum"
DEAD = "spindle:dead_letter_queue_messages:sum"
DEAD_READY = "spindle:dead_letter_queue_ready:sum"
BACKLOG = "spindle:backlog_batches:ratio"
SETTLED = "spindle:records:rate1m"
SETTLED_5M = "spindle:records:rate5m"
PACE = "spindle:pace:rate"
STILL = "spindle:standing_still:messages"
TIME_LEFT = "spindle:time_left:seconds"
FILL = "spindle:batch_fill:ratio5m"
FULL_LOAD = "spindle:full_load:rate5m"
BASELINE = "spindle:full_load:median30d"
