"""What is watched, and the numbers at which it is bad: the one place from which alerts and dashboards take both."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from common.kinds import Service
from monitoring.promql import (
    BACKLOG,
    BASELINE,
    BY_KIND,
    DEAD,
    DEAD_READY,
    FILL,
    FULL_LOAD,
    MESSAGES,
    SETTLED,
    STILL,
    quantile,
    rate,
    with_same,
)

JOBS = (*Service, "rabbitmq", "rabbitmq-detailed")
OURS = f'job=~"{"|".join(Service)}"'
"""A selector of our own processes, by their jobs."""

# A writer takes one batch, the prefetch keeps two more: with more than four waiting, nothing but our own doing keeps a
# batch from being full.
BACKLOG_BATCHES = 4
# The median of a load's mixture moves with how much of it is unchanged: only loads that mostly write are compared.
WRITING_SHARE = 0.8
BASELINE_MINUTES = 60
# The hold limit is half of the broker's consumer timeout: at 60% handing back has not worked.
OLDEST_SHARE = 0.6
# What one replica holds unanswered as it comes. With no more than that between publisher and commit, ten seconds are
# slow: fewer than 200 records a second. Not in batches: a slow store shrinks these, and a service that is down tells
# nothing of them.
SMALL_BACKLOG = 2000
# Seconds from the word that all of a load is published until somebody should have seen that it is there.
DAY = 86400


@dataclass(frozen=True, slots=True)
class Signal:
    """A value, and the number beyond which it is bad.

    `when`: what else must be so (or is as bad), in PromQL, behind the comparison.
    """

    value: str
    bad: float
    below: bool = False
    when: str = ""

    @property
    def condition(self) -> str:
        """The expression that yields the series which are bad."""
        comparison = f"{self.value} {'<' if self.below else '>'} {self.bad:g}"
        return f"{comparison} {self.when}".rstrip()


def _any_of(metric: str, jobs: Iterable[str]) -> str:
    return f'{metric}{{job=~"{"|".join(jobs)}"}}'


# A stopped container vanishes from DNS, and its series with it: what is not there at all must count as down too. By
# job: what is started again and again is now there and down, now not there, and does not begin to be down again.
def up(jobs: Sequence[str]) -> Signal:
    """Whether every process of these jobs answers, and whether there is any."""
    absent = " or ".join(f'absent(up{{job="{job}"}}) - 1' for job in jobs)
    return Signal(f"min by (job) ({_any_of('up', jobs)} or {absent})", bad=1, below=True)


UP = up(JOBS)
# By process as one names it: a broker whose queues' metrics are missing is not up either.
PROCESSES = Signal(
    f'min by (process) (label_replace({UP.value}, "process", "$1", "job", "(.+?)(-detailed)?"))'
    f" * on (process)"
    f' label_replace(sum by (job) ({_any_of("up", JOBS)}) or {UP.value}, "process", "$1", "job", "(.+)")',
    bad=1,
    below=True,
)
RESTARTS = Signal(f"max by (job) (changes({_any_of('process_start_time_seconds', Service)}[10m]))", bad=2)
PAUSED = f"max by ({BY_KIND}) (spindle_paused) > 0"
"""The kinds that an operator has paused: they are to receive and to settle nothing."""
# Over a quarter of an hour: a service that is started again tells of no pause until it has asked its store.
PAUSES = Signal(f"max by ({BY_KIND}) (max_over_time(spindle_paused[15m]))", bad=0)
BROKER_CONNECTED = Signal(
    "min by (service, kind) (spindle_broker_connected)", bad=1, below=True, when=f"unless on ({BY_KIND}) {PAUSED}"
)
STORE_HELD = Signal("max by (service, store) (spindle_store_breaker_open)", bad=0)
STORE_ALARM = Signal("max by (service, store) (spindle_store_alarm)", bad=0)
# 0 writable, 1 held, 2 needs a person; 3 if nobody is there to tell: no tile at all would be no answer.
STORES = Signal(
    " or ".join(
        [
            f"{STORE_HELD.value} + {STORE_ALARM.value}",
            *(
                f'label_replace(vector(3), "store", "{store}", "", "")'
                f' unless on (store) spindle_store_breaker_open{{store="{store}"}}'
                for store in ("PostgreSQL", "Neo4j")
            ),
        ]
    ),
    bad=0,
)
REFUSING_EVERYTHING = Signal(f"max by ({BY_KIND}) (spindle_refusing_everything)", bad=0)
HANDED_BACK = Signal(f"max by ({BY_KIND}) (spindle_handed_back)", bad=0)
# By how bad it is: 3 refuses everything, 2 has handed back, 1 stands still for whatever reason.
STOPPED = Signal(
    f"3 * {REFUSING_EVERYTHING.value} > 0 or 2 * {HANDED_BACK.value} > 0 or {STILL} * 0 + 1",
    bad=0,
)
STANDSTILL = Signal(MESSAGES, bad=0, when=f"unless on ({BY_KIND}) {SETTLED} > 0 unless on ({BY_KIND}) {PAUSED}")
OLDEST = Signal(
    f"max by ({BY_KIND}) (spindle_oldest_unacknowledged_seconds / spindle_consumer_timeout_seconds)", bad=OLDEST_SHARE
)
# The broker may set messages aside too (a queue's limits), and of these our counter knows nothing. Whoever looks at
# dead letters holds some and copies some (common/rabbitmq/ops/rotation.py): never do more wait than before, and the
# most that waited in a minute stays as it was.
DEAD_LETTERS = Signal(
    "sum by (service, kind, reason) (increase(spindle_dead_letters_total[5m]))",
    bad=0,
    when=f"or on ({BY_KIND}) delta(max_over_time({DEAD_READY}[1m])[4m:15s]) > 0",
)
# The broker says only for all queues together how many messages it has thrown away, or moved to where a policy says. So
# letters of ours must be lacking, too: there are fewer than there were before (a look copies some and takes them away
# again), and than have come. What an operator takes out is not thrown away. A queue that expires takes its letters
# along uncounted, and a broker that restarts tells of none for a while.
_DISCARDED = " + ".join(
    f'sum(increase(rabbitmq_global_messages_dead_lettered_{why}_total{{dead_letter_strategy!="at_least_once"}}[8m]))'
    for why in ("expired", "maxlen", "delivery_limit")
)
# By a minute late, so that the broker tells of them too; and a twentieth less, by which an increase may be too large.
_CAME = f"round(0.95 * sum by ({BY_KIND}) (increase(spindle_dead_letters_total[5m] offset 1m)))"
_LACKING = f"min_over_time({DEAD}[7m] offset 1m) + ({_CAME} or {DEAD} * 0) - max_over_time({DEAD}[30s])"
# Not by a job, whose name is somebody's choice elsewhere: whoever tells of any queue tells of all.
_ANY_QUEUE = "rabbitmq_detailed_queue_messages"
_BROKER_TELLS = f"and on () min_over_time((count({_ANY_QUEUE}) or vector(0))[5m:5s]) > 0"
DEAD_LETTERS_LOST = Signal(
    f"(max_over_time(({_LACKING})[5m:15s]) or {DEAD} * 0)",
    bad=0,
    when=f"and on () ({_DISCARDED} > 0)"
    f" or on ({BY_KIND}) last_over_time({DEAD}[5m]) > 0 unless on ({BY_KIND}) {DEAD} {_BROKER_TELLS}",
)
RECORDS_LOST = Signal(
    f"last_over_time({MESSAGES}[5m])", bad=0, when=f"unless on ({BY_KIND}) {MESSAGES} {_BROKER_TELLS}"
)
# A broker that restarts tells of no queue, and must not begin the day again.
DEAD_LETTERS_WAITING = Signal(f"last_over_time({DEAD}[1h])", bad=0)
DEAD_LETTERS_HELD = Signal("sum(spindle_held_dead_letters) + sum(spindle_suspects)", bad=0)
DEAD_LETTERS_UNCONFIRMED = Signal("sum by (service) (spindle_dead_letters_unconfirmed)", bad=0)
# Behind a backlog a batch is full, or its bytes have closed it.
_BY_BYTES = 'trigger="bytes"'
_BATCHES = "spindle_batch_size_records_count"
BATCH_FILL = Signal(
    FILL,
    bad=0.5,
    below=True,
    when=f"and on ({BY_KIND}) min_over_time({BACKLOG}[5m]) > {BACKLOG_BATCHES}"
    f" unless on ({BY_KIND}) {rate(_BATCHES, '5m', where=_BY_BYTES)} / {rate(_BATCHES, '5m')} > 0.5",
)
THROUGHPUT = Signal(f"({with_same(BY_KIND, FULL_LOAD, '/', BASELINE)})", bad=0.5, below=True)
# Behind a backlog latency is the length of the queue, given out or not; and after an outage of the service, of its
# connection or of its store that of the outage, of which its metrics then tell nothing: no news.
_DOWN = f'label_replace(min_over_time({up(tuple(Service)).value}[10m:15s]) < 1, "service", "$1", "job", "(.+)")'
LATENCY = Signal(
    quantile(0.99, "spindle_publish_to_commit_seconds", "5m"),
    bad=10,
    when=f"and on ({BY_KIND}) max_over_time({MESSAGES}[10m]) < {SMALL_BACKLOG}"
    f" unless on (service) {_DOWN}"
    f" unless on ({BY_KIND}) min_over_time(spindle_broker_connected[10m]) < 1"
    " unless on (service) max_over_time(spindle_store_breaker_open[10m]) > 0",
)
# All replicas of a service read one ledger, some of them a moment earlier.
LOAD_COMPLETE = Signal(f"max by ({BY_KIND}) (spindle_load_complete)", bad=1, below=True)
LOAD_MISSING = Signal(f"max by ({BY_KIND}) (spindle_load_missing_records)", bad=0)
LOAD_INCOMPLETE = Signal(
    f"time() - max by ({BY_KIND}) (spindle_load_announced_timestamp_seconds > 0)",
    bad=DAY,
    when=f"unless on ({BY_KIND}) {LOAD_COMPLETE.value} > 0",
)
LOOP_LAG = Signal("max by (service) (spindle_event_loop_lag_seconds)", bad=0.5)
RECONNECTS = Signal(f"sum by ({BY_KIND}) (increase(spindle_broker_reconnects_total[10m]))", bad=3)
BROKER_MEMORY = Signal("max by (instance) (rabbitmq_alarms_memory_used_watermark)", bad=0)
BROKER_DISK = Signal("max by (instance) (rabbitmq_alarms_free_disk_space_watermark)", bad=0)
# 1 memory, 2 disk, 3 both; 4 where only the services know, because nobody scrapes the broker.
PUBLISHING = Signal(
    "max(rabbitmq_alarms_memory_used_watermark) + 2 * max(rabbitmq_alarms_free_disk_space_watermark) > 0"
    " or 4 * max(spindle_publishing_blocked)",
    bad=0,
)
