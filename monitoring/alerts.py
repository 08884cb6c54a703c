"""The alerts: which signal, bad for how long, how urgent, and what the person who is called reads first."""

from dataclasses import dataclass
from enum import StrEnum

from monitoring import signals
from monitoring.signals import Signal

RUNBOOK = "docs/runbook.md"


class Severity(StrEnum):
    """How soon somebody must look."""

    CRITICAL = "critical"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Alert:
    """One rule. `lasting`: for how long the signal must be bad. `summary` is a template of Prometheus'."""

    name: str
    signal: Signal
    lasting: str
    severity: Severity
    summary: str
    action: str
    meaning: str
    """The same in a few of the operator's words, for a list of names."""
    service: str = ""
    """A template for the label `service`, where the signal has none: by it alerts are grouped and inhibited."""

    @property
    def entry(self) -> str:
        """Where the runbook says more."""
        return f"{RUNBOOK}#{self.name.lower()}"


_KIND = "{{ $labels.service }}, {{ $labels.kind }}"
_SHARE = "{{ $value | humanizePercentage }}"

ALERTS = (
    Alert(
        "SpindleServiceDown",
        signals.UP,
        "1m",
        Severity.CRITICAL,
        "{{ $labels.job }}: a process does not answer, or none runs",
        "Look at the process and the end of its log; nothing is lost, the queues keep what is not settled.",
        "a process is DOWN",
        service="{{ $labels.job }}",
    ),
    Alert(
        "SpindleRestarting",
        signals.RESTARTS,
        "0s",
        Severity.WARNING,
        "{{ $labels.job }} has restarted {{ $value }} times in ten minutes",
        "Read the end of the log before the last start; nothing is lost, what it held is delivered again.",
        "ends and is started again and again",
        service="{{ $labels.job }}",
    ),
    Alert(
        "SpindleBrokerDisconnected",
        signals.BROKER_CONNECTED,
        "1m",
        Severity.CRITICAL,
        f"{_KIND}: no connection to RabbitMQ",
        "See whether RabbitMQ runs and takes the login; the service goes on by itself once it does.",
        "no connection to RabbitMQ",
    ),
    Alert(
        "SpindleStoreUnavailable",
        signals.STORE_HELD,
        "15s",
        Severity.CRITICAL,
        "{{ $labels.service }} holds: {{ $labels.store }} can't be written to",
        "Bring the store back; /health/ready of the service says what it answered. Nothing is lost.",
        "its database is DOWN, records wait",
    ),
    Alert(
        "SpindleStoreNeedsAPerson",
        signals.STORE_ALARM,
        "0s",
        Severity.CRITICAL,
        "{{ $labels.service }}: {{ $labels.store }} will not come back by itself",
        "Fix schema, privilege, login or disk as /health/ready of the service says; waiting does not help.",
        "its database needs you, waiting won't help",
    ),
    Alert(
        "SpindleRefusingEverything",
        signals.REFUSING_EVERYTHING,
        "0s",
        Severity.CRITICAL,
        f"{_KIND}: the store refuses everything; what could not be proved bad is held",
        "Find out whether the store's schema or the source has changed before anything is dead-lettered.",
        "the database refuses every record of a kind",
    ),
    Alert(
        "SpindleNoProgress",
        signals.STANDSTILL,
        "3m",
        Severity.CRITICAL,
        f"{_KIND}: {{{{ $value }}}} messages in the queue and nothing is settled",
        "See which of service, broker and store stands still.",
        "records wait and none is stored",
    ),
    Alert(
        "SpindleOldestNearTimeout",
        signals.OLDEST,
        "1m",
        Severity.WARNING,
        f"{_KIND}: a delivery has waited for {_SHARE} of the broker's consumer timeout",
        "See what it waits for; at 100% the broker takes back everything that is unacknowledged.",
        "a record waits too long for its answer",
    ),
    Alert(
        "SpindleDeadLettersArriving",
        signals.DEAD_LETTERS,
        "0s",
        Severity.WARNING,
        f"{_KIND}: records are being dead-lettered{{{{ with $labels.reason }}}} ({{{{ . }}}}){{{{ end }}}}",
        "Read the headers of some of them: the reason, and which load they come from.",
        "records are being set aside",
    ),
    Alert(
        "SpindleDeadLettersWaiting",
        signals.DEAD_LETTERS_WAITING,
        "1d",
        Severity.WARNING,
        f"{_KIND}: the dead-letter queue has not been empty for a day; letters in it now: {{{{ $value }}}}",
        "Mend the cause and replay them, or drop them; the store lacks these records, or their newest version.",
        "set-aside records have waited for a day",
    ),
    Alert(
        "SpindleDeadLettersLost",
        signals.DEAD_LETTERS_LOST,
        "0s",
        Severity.CRITICAL,
        f"{_KIND}: RabbitMQ has thrown away {{{{ $value }}}} dead letters, or deleted their queue",
        "Run spindle doctor: it names the policy; take it off the dead-letter queues before more go.",
        "RabbitMQ throws dead letters away",
    ),
    Alert(
        "SpindleQueueDeleted",
        signals.RECORDS_LOST,
        "1m",
        Severity.CRITICAL,
        f"{_KIND}: the queue is gone, and with it {{{{ $value }}}} records that were not stored",
        "Run spindle doctor: it names a policy that deletes queues. Then publish what is missing again.",
        "a queue with records in it is deleted",
    ),
    Alert(
        "SpindleLoadNotComplete",
        signals.LOAD_INCOMPLETE,
        "10m",
        Severity.WARNING,
        f"{_KIND}: a load was announced {{{{ $value | humanizeDuration }}}} ago and is not known to be complete",
        "See spindle loads: check it where nobody has; where a check found records missing, see why, and repair them.",
        "a load is not known to be complete after a day",
    ),
    Alert(
        "SpindlePauseForgotten",
        signals.PAUSES,
        "1d",
        Severity.WARNING,
        f"{_KIND}: paused by an operator for more than a day; its records wait in the queue",
        "See spindle status for who paused it and why; spindle resume lets it go on.",
        "paused for a day, its records wait",
    ),
    Alert(
        "SpindleBatchesNotFilling",
        signals.BATCH_FILL,
        "5m",
        Severity.WARNING,
        f"{_KIND}: batches are {_SHARE} full although more are waiting",
        "Check the prefetch, and what closes the batches.",
        "batches are half empty, slow",
    ),
    Alert(
        "SpindleThroughputRegression",
        signals.THROUGHPUT,
        "10m",
        Severity.WARNING,
        f"{_KIND}: at {_SHARE} of its own median throughput",
        "Compare store time, writers and replicas with a day on which it was faster.",
        "half as fast as it used to be",
    ),
    Alert(
        "SpindleLatencyHigh",
        signals.LATENCY,
        "2m",
        Severity.WARNING,
        f"{_KIND}: p99 from publish to commit is {{{{ $value | humanizeDuration }}}} without a backlog",
        "Look at store time, the oldest delivery and the event loop's lag.",
        "records take more than 10 s without a backlog",
    ),
    Alert(
        "SpindleLoopLag",
        signals.LOOP_LAG,
        "2m",
        Severity.WARNING,
        "{{ $labels.service }}: the event loop is {{ $value | humanizeDuration }} late",
        "See whether the machine has CPU left; if it has, take a profile.",
        "the process has no CPU, or is blocked",
    ),
    Alert(
        "SpindleReconnectFlapping",
        signals.RECONNECTS,
        "0s",
        Severity.WARNING,
        f"{_KIND}: lost its channel {{{{ $value | humanize }}}} times in ten minutes",
        "Read RabbitMQ's log for why it closes channels or connections.",
        "loses its connection to RabbitMQ again and again",
    ),
    Alert(
        "SpindlePublishRefused",
        signals.DEAD_LETTERS_UNCONFIRMED,
        "1m",
        Severity.CRITICAL,
        "{{ $labels.service }}: RabbitMQ has not confirmed {{ $value }} dead letters",
        "See the alarms of the broker, and the limits of the dead-letter queue; their records wait and are not lost.",
        "RabbitMQ takes no dead letters",
    ),
    Alert(
        "SpindleBrokerMemoryAlarm",
        signals.BROKER_MEMORY,
        "0s",
        Severity.CRITICAL,
        "RabbitMQ at {{ $labels.instance }} has its memory alarm on: nobody can publish",
        "Let the consumers empty the queues, or give the broker more memory.",
        "memory FULL, nobody can publish",
        service="rabbitmq",
    ),
    Alert(
        "SpindleBrokerDiskAlarm",
        signals.BROKER_DISK,
        "0s",
        Severity.CRITICAL,
        "RabbitMQ at {{ $labels.instance }} has its disk alarm on: nobody can publish",
        "Free disk space on the broker's machine.",
        "disk FULL, nobody can publish",
        service="rabbitmq",
    ),
)
