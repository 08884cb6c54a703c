"""What limits a service, judged by its meters: one limit, what speaks for it and against it, and one change. Pure.

The limit is the stage that is busy nearly all of the time while records wait before it. Where nothing waits, the
services keep up with the producer, and there is nothing to find.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from common.kinds import Service
from common.outcomes import Outcome
from spindle.advice.meters import Meters

ENOUGH = 1000
"""Records in the window: below, chance says more than the meters do."""

BUSY = 0.7
"""Share of the time from which a stage can be the limit: what is left lies between two transactions. (Seen of a Neo4j
on a machine without a free core: 0.74.)"""

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

_VARIABLES = {Service.TABLEINATOR: "POSTGRES", Service.GRAPHINATOR: "NEO4J"}


class Limit(StrEnum):
    """What can be found; the names are stable."""

    STORE_AWAY = "store_away"
    STOPPED = "stopped"
    STANDSTILL = "standstill"
    BROKER_ALARM = "broker_alarm"
    RETRIES = "retries"
    DEAD_LETTERS = "dead_letters"
    DUPLICATES = "duplicates"
    STORE = "store"
    CPU = "cpu"
    BALANCED = "balanced"
    LOOP_LAG = "loop_lag"
    BYTES = "bytes"
    PREFETCH = "prefetch"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Evidence:
    """A number that was looked at, and where it would be bad."""

    meter: str
    value: float
    bound: float


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that limits a service. `share`: of the time, or of the records. `gain`: records per second more, at the
    most; None if it can't be told."""

    limit: Limit
    sentence: str
    share: float
    evidence: tuple[Evidence, ...]
    against: tuple[Evidence, ...]
    """What would speak for another limit, and does not."""
    change: str
    gain: float | None = None
    unseen: str = ""
    """What could not be seen from here."""


@dataclass(frozen=True, slots=True)
class Advice:
    """What was found of one service. Not `judged`: there was too little to see."""

    service: Service
    verdict: str
    findings: tuple[Finding, ...] = ()
    not_the_limit: tuple[Evidence, ...] = ()
    judged: bool = True


def advise(service: Service, meters: Meters | None) -> Advice:
    """Judge a service by its meters; None: no process of it answered from the first look to the last."""
    if meters is None:
        return Advice(service, "no replica answered from the first look to the last", judged=False)
    advice = _advise(service, meters)
    if not meters.restarted:
        return advice
    return replace(advice, verdict=f"{advice.verdict}; replicas that began or ended meanwhile are not in it")


def _advise(service: Service, meters: Meters) -> Advice:
    trouble = list(_trouble(meters))
    if not trouble and not meters.records and meters.seconds >= LONG and meters.backlog and _is_behind(meters):
        trouble = [_standstill(meters)]
    if meters.records < ENOUGH:
        return _of_little(meters, trouble)
    found = [*trouble, *_of_records(meters)]
    if not _is_behind(meters):
        verdict = f"keeps up with what is published: {meters.rate:,.0f} records/s, and nothing waits"
        return Advice(service, verdict, tuple(found), _stages(meters))
    limit = _limit(meters)
    found.append(limit)
    aside = tuple(each for each in _stages(meters) if each not in limit.evidence)
    return Advice(service, f"{meters.rate:,.0f} records/s; {limit.sentence}", tuple(found), aside)


def _of_little(meters: Meters, trouble: Sequence[Finding]) -> Advice:
    """Fewer records than can be judged: because there were none, or because something stops them."""
    if trouble:
        return Advice(meters.service, trouble[0].sentence, tuple(trouble))
    if not _is_behind(meters):
        return Advice(meters.service, f"nothing to do: {meters.records:,} records in {meters.seconds:.0f} s")
    return Advice(
        meters.service,
        f"only {meters.records:,} records in {meters.seconds:.0f} s, too few to judge by: look for longer (--seconds)",
        judged=False,
    )


def _is_behind(meters: Meters) -> bool:
    """Whether records waited at half of the looks or more; if the broker can't be asked, they are taken to have."""
    if not meters.backlog:
        return True
    least = BATCHES_WAITING * meters.batch
    return sum(waiting > least for waiting in meters.backlog) >= len(meters.backlog) / 2


def _stages(meters: Meters) -> tuple[Evidence, ...]:
    """What can be busy all the time."""
    return _writing(meters), _cpu(meters)


def _writing(meters: Meters) -> Evidence:
    return Evidence("share of the writers' time in transactions", meters.writing, BUSY)


def _cpu(meters: Meters) -> Evidence:
    return Evidence("CPU seconds per second of the busiest replica", meters.cpu, BUSY)


# What is the matter, whatever limits besides.


def _trouble(meters: Meters) -> Iterator[Finding]:
    store, service = meters.store or "the store", meters.service
    if meters.away >= OFTEN:
        yield Finding(
            Limit.STORE_AWAY,
            f"{store} was held to be unavailable {meters.away:.0%} of the time",
            meters.away,
            (Evidence("share of the looks with the breaker open", meters.away, OFTEN),),
            (),
            f"look at {store} first: `spindle doctor` says what it refuses",
        )
    for kind, why in meters.stopped.items():
        yield Finding(
            Limit.STOPPED,
            f"{kind} stands still: {why}",
            1.0,
            (Evidence(f"{why}, {kind}", 1.0, 1.0),),
            (),
            f"`spindle resume {service} {kind}`" if why == "paused" else "see the runbook: `spindle status` names it",
        )
    if meters.blocked >= OFTEN:
        yield Finding(
            Limit.BROKER_ALARM,
            f"RabbitMQ took no messages {meters.blocked:.0%} of the time: memory or disk alarm",
            meters.blocked,
            (Evidence("share of the looks with an alarm", meters.blocked, OFTEN),),
            (),
            "lower EXTRACTOR_MAX_BACKLOG, or give the broker more memory or disk",
        )
    if meters.failing >= OFTEN:
        yield Finding(
            Limit.RETRIES,
            f"{meters.failing:.0%} of the writers' time went into transactions that stored nothing",
            meters.failing,
            (Evidence("share of the writers' time in failed transactions", meters.failing, OFTEN),),
            (),
            f"see which they are (conflicts, time limits, refusals) on the board, or in the log of {service}",
            gain=meters.rate * meters.failing / max(0.01, meters.writing - meters.failing),
        )


def _standstill(meters: Meters) -> Finding:
    """Records wait, and not one was settled: transactions under way say whether it is the store."""
    hangs = meters.in_use > 0
    where = f"{meters.in_use:.0f} of its transactions are under way" if hangs else "no transaction is under way"
    return Finding(
        Limit.STANDSTILL,
        f"nothing was settled in {meters.seconds:.0f} s although records wait: {where}",
        1.0,
        (Evidence("connections to the store in use", meters.in_use, 1.0),),
        (),
        f"see what {meters.store} waits for: locks, its disk, another client"
        if hangs
        else "`spindle status` says what is held, and the log what it waits for",
        unseen=f"what {meters.store} waits for" if hangs else "",
    )


def _of_records(meters: Meters) -> Iterator[Finding]:
    dead = meters.share_of(Outcome.DEAD_LETTERED)
    if dead >= SET_ASIDE:
        yield Finding(
            Limit.DEAD_LETTERS,
            f"{dead:.1%} of the records are dead-lettered: finding each costs some 20 transactions",
            dead,
            (Evidence("share of records dead-lettered", dead, SET_ASIDE),),
            (),
            "`spindle dead-letters list` says why; have the producer mend it",
        )
    again = meters.share_of(Outcome.UNCHANGED, Outcome.STALE, Outcome.SUPERSEDED)
    if again >= REPEATED and _is_behind(meters):
        yield Finding(
            Limit.DUPLICATES,
            f"{again:.0%} of the records are stored already",
            again,
            (Evidence("share of records unchanged, stale or superseded", again, REPEATED),),
            (),
            "publish what differs: `spindle load`, or the extractor with --since",
        )


# What is busy all the time.


def _limit(meters: Meters) -> Finding:
    writing, cpu = _writing(meters), _cpu(meters)
    if max(writing.value, cpu.value) < BUSY:
        return _of_idle_stages(meters)
    if abs(writing.value - cpu.value) < ALIKE:
        return Finding(
            Limit.BALANCED,
            f"balanced: {meters.store} and our own CPU are both busy all the time",
            min(writing.value, cpu.value),
            (writing, cpu),
            (),
            "one more replica, and more for the store; neither alone gains anything",
        )
    return _of_store(meters) if writing.value > cpu.value else _of_cpu(meters)


def _of_store(meters: Meters) -> Finding:
    variable = f"{_VARIABLES[meters.service]}_WRITERS"
    return Finding(
        Limit.STORE,
        f"{meters.store} is the limit: the writers spend {meters.writing:.0%} of their time in its transactions",
        meters.writing,
        (_writing(meters),),
        (_cpu(meters),),
        f"one more of {variable} while {meters.store} has CPU and disk to spare; else a faster disk or more cores",
        gain=_up_to(meters, meters.cpu),
        unseen=f"whether {meters.store} computes, waits for its disk, or for locks",
    )


def _of_cpu(meters: Meters) -> Finding:
    return Finding(
        Limit.CPU,
        f"our own CPU is the limit: a process uses {meters.cpu:.2f} of the one core that it can use",
        meters.cpu,
        (_cpu(meters),),
        (_writing(meters),),
        f"one more replica of {meters.service}",
        gain=_up_to(meters, meters.writing),
        unseen="whether the machine has another core free",
    )


def _of_idle_stages(meters: Meters) -> Finding:
    """Records wait, and nothing is busy: what is waited for?"""
    stages, gain = _stages(meters), _up_to(meters, max(meters.writing, meters.cpu))
    variable = _VARIABLES[meters.service]
    if meters.lag >= LATE:
        return Finding(
            Limit.LOOP_LAG,
            f"the event loop is up to {meters.lag:.1f} s late, while the process gets {meters.cpu:.2f} of a core",
            meters.lag,
            (Evidence("seconds that the event loop was late", meters.lag, LATE),),
            stages,
            "give the process a whole core: others take the machine's",
            gain,
        )
    if meters.fill is not None and meters.by_bytes > HALF_EMPTY:
        return Finding(
            Limit.BYTES,
            f"{meters.by_bytes:.0%} of the batches are closed by their bytes, not by their number",
            meters.by_bytes,
            (Evidence("share of batches closed by bytes", meters.by_bytes, HALF_EMPTY),),
            stages,
            "raise BATCH_MAX_BYTES, and SOURCE_MAX_BYTES with it",
            gain,
        )
    if meters.fill is not None and meters.fill < HALF_EMPTY:
        return Finding(
            Limit.PREFETCH,
            f"batches are {meters.fill:.0%} full although more waits: the prefetch is too small for them",
            1 - meters.fill,
            (Evidence("fill of batches", meters.fill, HALF_EMPTY),),
            stages,
            f"raise {variable}_PREFETCH to (writers + 2) x batch size, or leave it unset",
            gain,
        )
    return Finding(
        Limit.UNKNOWN,
        "records wait, and nothing that can be seen from here is busy",
        1 - max(meters.writing, meters.cpu),
        stages,
        (),
        "look at the way between broker and service (network, RabbitMQ's flow control), and for longer (--seconds)",
        unseen="the network, and what RabbitMQ does",
    )


def _up_to(meters: Meters, next_share: float) -> float:
    """Records per second more until the next stage is busy all the time."""
    return meters.rate * (1 / max(0.05, next_share) - 1)
