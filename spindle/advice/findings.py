"""What limits a service, judged by its meters: one limit, what speaks for it and against it, and one change. Pure.

The limit is the stage that is busy nearly all of the time while records wait before it. Where nothing waits, the
services keep up with the producer, and there is nothing to find.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from common.kinds import Service
from common.ops.waits import Wait
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

SMALL_BATCH = 50
"""Records per transaction up to which what a transaction itself costs is most of its time."""

SEEN = 20
"""Transactions that must have been seen in the store before anything is said of what they wait for."""

MOSTLY = 0.5
"""Share of those from which it is one thing that they wait for."""

NEARLY = 0.9
"""Share of the broker's memory ceiling from which it is about to block publishers."""

_VARIABLES = {Service.TABLEINATOR: "POSTGRES", Service.GRAPHINATOR: "NEO4J"}


class Limit(StrEnum):
    """What can be found; the names are stable. The first two limit nothing: they are a healthy service's verdict."""

    NOTHING_TO_DO = "nothing_to_do"
    PUBLISHER = "publisher"

    STORE_AWAY = "store_away"
    STOPPED = "stopped"
    STANDSTILL = "standstill"
    BROKER_ALARM = "broker_alarm"
    RETRIES = "retries"
    DEAD_LETTERS = "dead_letters"
    DUPLICATES = "duplicates"
    STORE = "store"
    STORE_CPU = "store_cpu"
    STORE_LOCKS = "store_locks"
    STORE_DISK = "store_disk"
    CHECKPOINT = "checkpoint"
    ROUND_TRIPS = "round_trips"
    CPU = "cpu"
    BALANCED = "balanced"
    LOOP_LAG = "loop_lag"
    BYTES = "bytes"
    PREFETCH = "prefetch"
    BATCHES = "batches"
    MEMORY = "memory"
    FLOW_CONTROL = "flow_control"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Evidence:
    """A number that was looked at, and where it would be bad. `metric`: where it comes from. `window`: seconds."""

    meter: str
    value: float
    bound: float
    metric: str
    window: float


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that limits a service. `share`: of the time, or of the records. `gain`: records per second more, at the
    most; None if it can't be told.
    """

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
    limit: Limit | None = None
    """What limits most; None if it can't be judged."""
    phases: tuple["Phase", ...] = ()
    """What limited when, if the window is long enough to tell parts of it apart."""


@dataclass(frozen=True, slots=True)
class Phase:
    """A part of the window in which one thing limited. Times are seconds from its begin. `limit`: None if there was too
    little to judge by. `rate`: records per second.
    """

    begin: float
    end: float
    limit: Limit | None
    sentence: str
    rate: float


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
        found += _of_broker(meters)
        verdict = f"keeps up with what is published: {meters.rate:,.0f} records/s, and nothing waits"
        limit = found[0].limit if found else Limit.PUBLISHER
        return Advice(service, verdict, tuple(found), aside_of(meters, found), limit=limit)
    main = _limit(meters)
    found.append(main)
    verdict = f"{meters.rate:,.0f} records/s; {main.sentence}"
    # What the store is kept from doing comes first: only without it the rest is worth turning.
    limit = trouble[0].limit if trouble else main.limit
    return Advice(service, verdict, tuple(found), aside_of(meters, found), limit=limit)


def _of_little(meters: Meters, trouble: Sequence[Finding]) -> Advice:
    """Fewer records than can be judged: because there were none, or because something stops them."""
    if trouble:
        return Advice(meters.service, trouble[0].sentence, tuple(trouble), limit=trouble[0].limit)
    if not _is_behind(meters):
        verdict = f"nothing to do: {meters.records:,} records in {meters.seconds:.0f} s"
        return Advice(meters.service, verdict, limit=Limit.NOTHING_TO_DO)
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


# Everything that is looked at, each with the number from which it is bad.


def _evidence(meters: Meters, meter: str, value: float, bound: float, metric: str) -> Evidence:
    return Evidence(meter, value, bound, metric, meters.seconds)


def _stages(meters: Meters) -> tuple[Evidence, ...]:
    """What can be busy all the time."""
    return _writing(meters), _cpu(meters)


def _writing(meters: Meters) -> Evidence:
    metric = "spindle_transaction_time_seconds_total"
    return _evidence(meters, "share of the writers' time in transactions", meters.writing, BUSY, metric)


def _cpu(meters: Meters) -> Evidence:
    metric = "process_cpu_seconds_total"
    return _evidence(meters, "CPU seconds per second of the busiest replica", meters.cpu, BUSY, metric)


def _lag(meters: Meters) -> Evidence:
    metric = "spindle_event_loop_lag_seconds"
    return _evidence(meters, "seconds that the event loop was late", meters.lag, LATE, metric)


def _failing(meters: Meters) -> Evidence:
    metric = 'spindle_transaction_time_seconds_total{result!="stored"}'
    return _evidence(meters, "share of the writers' time in failed transactions", meters.failing, OFTEN, metric)


def _away(meters: Meters) -> Evidence:
    metric = "spindle_store_breaker_open"
    return _evidence(meters, "share of the looks with the breaker open", meters.away, OFTEN, metric)


def _alarm(meters: Meters) -> Evidence:
    metric = "RabbitMQ: mem_alarm, disk_free_alarm"
    return _evidence(meters, "share of the looks with an alarm", meters.blocked, OFTEN, metric)


def _dead(meters: Meters) -> Evidence:
    share, metric = meters.share_of(Outcome.DEAD_LETTERED), 'spindle_records_total{outcome="dead_lettered"}'
    return _evidence(meters, "share of records dead-lettered", share, SET_ASIDE, metric)


def _again(meters: Meters) -> Evidence:
    share = meters.share_of(Outcome.UNCHANGED, Outcome.STALE, Outcome.SUPERSEDED)
    metric = 'spindle_records_total{outcome=~"unchanged|stale|superseded"}'
    return _evidence(meters, "share of records unchanged, stale or superseded", share, REPEATED, metric)


def _fill(meters: Meters) -> Evidence:
    metric = "spindle_batch_size_records_sum / spindle_batch_room_records_total"
    return _evidence(meters, "fill of batches", meters.fill or 0.0, HALF_EMPTY, metric)


def _prefetched(meters: Meters) -> Evidence:
    metric = "spindle_unacknowledged_deliveries"
    return _evidence(meters, "deliveries of a kind in hand at the most", meters.unsettled, _needed(meters), metric)


def _memory(meters: Meters) -> Evidence:
    metric = "RabbitMQ: mem_used / mem_limit"
    return _evidence(meters, "share of RabbitMQ's memory ceiling", meters.broker_memory or 0.0, NEARLY, metric)


def _flow(meters: Meters) -> Evidence:
    metric = "RabbitMQ: state of connections"
    return _evidence(meters, "share of the looks with flow control", meters.flow or 0.0, MOSTLY, metric)


def _waiting(meters: Meters, wait: Wait) -> Evidence:
    metric = "SHOW TRANSACTIONS" if meters.service is Service.GRAPHINATOR else "pg_stat_activity"
    meter = f"share of {meters.seen:,} transactions seen in the store: {wait}"
    return _evidence(meters, meter, meters.share_in(wait), MOSTLY, metric)


def _needed(meters: Meters) -> float:
    """Deliveries in hand without which batches can't be full while all writers are busy."""
    return (meters.writers / max(1, meters.replicas) + 1) * meters.batch * meters.replicas


def aside_of(meters: Meters, found: Sequence[Finding]) -> tuple[Evidence, ...]:
    """What was looked at and is not the limit."""
    shown = [each.meter for finding in found for each in finding.evidence]
    looked_at = [*_stages(meters), _lag(meters), _failing(meters), _alarm(meters), _dead(meters)]
    if meters.broker_memory is not None:
        looked_at.append(_memory(meters))
    if meters.seen >= SEEN:
        looked_at += [_waiting(meters, wait) for wait in (Wait.DISK, Wait.LOCKS)]
    return tuple(each for each in looked_at if each.meter not in shown and each.value < each.bound)


# What is the matter, whatever limits besides.


def _trouble(meters: Meters) -> Iterator[Finding]:
    store, service = meters.store or "the store", meters.service
    if meters.away >= OFTEN:
        yield Finding(
            Limit.STORE_AWAY,
            f"{store} was held to be unavailable {meters.away:.0%} of the time",
            meters.away,
            (_away(meters),),
            (_failing(meters),),
            f"look at {store} first: `spindle doctor` says what it refuses",
        )
    for kind, why in meters.stopped.items():
        yield Finding(
            Limit.STOPPED,
            f"{kind} stands still: {why}",
            1.0,
            (_evidence(meters, f"{why}, {kind}", 1.0, 1.0, _STOPS.get(why, "")),),
            (),
            f"`spindle resume {service} {kind}`" if why == "paused" else "see the runbook: `spindle status` names it",
        )
    if meters.blocked >= OFTEN:
        yield Finding(
            Limit.BROKER_ALARM,
            f"RabbitMQ took no messages {meters.blocked:.0%} of the time: memory or disk alarm",
            meters.blocked,
            (_alarm(meters),),
            (_memory(meters),) if meters.broker_memory is not None else (),
            "lower EXTRACTOR_MAX_BACKLOG, or give the broker more memory or disk",
        )
    if (meters.broker_memory or 0.0) >= NEARLY and meters.blocked < OFTEN:
        yield Finding(
            Limit.MEMORY,
            f"RabbitMQ uses {meters.broker_memory:.0%} of its memory ceiling: above it, it takes no messages",
            meters.broker_memory or 0.0,
            (_memory(meters),),
            (_alarm(meters),),
            "lower EXTRACTOR_MAX_BACKLOG, or raise vm_memory_high_watermark or the memory that RabbitMQ may have",
            unseen="what else on that machine needs memory",
        )
    if meters.failing >= OFTEN:
        yield Finding(
            Limit.RETRIES,
            f"{meters.failing:.0%} of the writers' time went into transactions that stored nothing",
            meters.failing,
            (_failing(meters),),
            (_away(meters),),
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
        (_evidence(meters, "connections to the store in use", meters.in_use, 1.0, "spindle_pool_in_use_connections"),),
        tuple(_waiting(meters, wait) for wait in Wait if meters.share_in(wait)),
        f"see what {meters.store} waits for: locks, its disk, another client"
        if hangs
        else "`spindle status` says what is held, and the log what it waits for",
        unseen=f"what {meters.store} waits for" if hangs and not meters.seen else "",
    )


def _of_records(meters: Meters) -> Iterator[Finding]:
    dead = meters.share_of(Outcome.DEAD_LETTERED)
    if dead >= SET_ASIDE:
        yield Finding(
            Limit.DEAD_LETTERS,
            f"{dead:.1%} of the records are dead-lettered: finding each costs some 20 transactions",
            dead,
            (_dead(meters),),
            (_failing(meters),),
            "`spindle dead-letters list` says why; have the producer fix it",
        )
    again = meters.share_of(Outcome.UNCHANGED, Outcome.STALE, Outcome.SUPERSEDED)
    if again >= REPEATED and _is_behind(meters):
        yield Finding(
            Limit.DUPLICATES,
            f"{again:.0%} of the records are stored already",
            again,
            (_again(meters),),
            (_writing(meters),),
            "publish what differs: `spindle load`, or the extractor with --since",
            gain=meters.rate * again / max(0.05, 1 - again),
            unseen="who publishes them again, and why",
        )


def _of_broker(meters: Meters) -> Iterator[Finding]:
    """Nothing waits: because nothing more is published, or because the broker takes no more?"""
    if (meters.flow or 0.0) >= MOSTLY and not meters.blocked:
        yield Finding(
            Limit.FLOW_CONTROL,
            f"RabbitMQ slowed publishers down {meters.flow:.0%} of the time, and the services keep up",
            meters.flow or 0.0,
            (_flow(meters),),
            (*_stages(meters), *([_memory(meters)] if meters.broker_memory is not None else ())),
            "give RabbitMQ's disk or CPU more room: quorum queues write each message before they confirm it",
            gain=_up_to(meters, max(meters.writing, meters.cpu)),
            unseen="what RabbitMQ waits for",
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
            (_lag(meters),),
            "one more replica, and more for the store; neither alone gains anything",
        )
    return _of_store(meters) if writing.value > cpu.value else _of_cpu(meters)


def _of_store(meters: Meters) -> Finding:
    """The writers are in transactions all the time: what do these do there?"""
    if meters.batch <= SMALL_BATCH:
        return _of_small_batches(meters)
    if meters.seen >= SEEN:
        for wait, describe in _IN_THE_STORE.items():
            if meters.share_in(wait) >= MOSTLY:
                return describe(meters)
    return _of_some_store(meters)


def _of_some_store(meters: Meters) -> Finding:
    """What the transactions wait for is not known, or several things."""
    store, variable = meters.store, f"{_VARIABLES[meters.service]}_WRITERS"
    seen = [(wait, meters.share_in(wait)) for wait in Wait if meters.share_in(wait)] if meters.seen >= SEEN else []
    mixed = ", ".join(f"{share:.0%} {wait} ({meters.events_of(wait)[0]})" for wait, share in seen)
    return Finding(
        Limit.STORE,
        f"{store} is the limit: the writers spend {meters.writing:.0%} of their time in its transactions"
        + (f", which were seen in it at {mixed}" if mixed else ""),
        meters.writing,
        (_writing(meters), *(_waiting(meters, wait) for wait, _ in seen)),
        (_cpu(meters),),
        f"one more of {variable} while {store} has CPU and disk to spare; else a faster disk or more cores",
        gain=_up_to(meters, meters.cpu),
        unseen="how much of its machine the store may use"
        if mixed
        else f"whether {store} computes, waits for its disk, or for locks",
    )


def _of_small_batches(meters: Meters) -> Finding:
    metric = "spindle_batch_size_limit_records"
    return Finding(
        Limit.BATCHES,
        f"transactions of {meters.batch:.0f} records at the most: beginning and committing them takes most of the time",
        meters.writing,
        (_evidence(meters, "records of a full batch", meters.batch, SMALL_BATCH, metric), _writing(meters)),
        (_cpu(meters),),
        f"raise {_VARIABLES[meters.service]}_BATCH_SIZE (500 by default), and the prefetch with it if it is set",
        gain=_up_to(meters, meters.cpu),
        unseen="how much larger transactions speed this store up",
    )


def _of_store_cpu(meters: Meters) -> Finding:
    store, variable = meters.store, f"{_VARIABLES[meters.service]}_WRITERS"
    return Finding(
        Limit.STORE_CPU,
        f"{store} is the limit, and computes: the writers spend {meters.writing:.0%} of their time in its transactions",
        meters.writing,
        (_writing(meters), _waiting(meters, Wait.COMPUTES)),
        (_cpu(meters), _waiting(meters, Wait.DISK), _waiting(meters, Wait.LOCKS)),
        f"one more of {variable} if a core of {store}'s machine is free; else more cores",
        gain=_up_to(meters, meters.cpu),
        unseen="whether a core is free: a transaction that waits for one computes, for all that the store says",
    )


def _of_store_disk(meters: Meters) -> Finding:
    store, disk = meters.store, meters.share_in(Wait.DISK)
    events = " and ".join(meters.events_of(Wait.DISK)[:2])
    meanwhile = sum(count for each, count in meters.waits.items() if each.wait is Wait.DISK and each.checkpoint)
    against = (_cpu(meters), _waiting(meters, Wait.LOCKS), _waiting(meters, Wait.COMPUTES))
    share = meanwhile / (disk * meters.seen)
    checkpoint = _evidence(meters, "share of those while a checkpoint ran", share, MOSTLY, "pg_stat_activity")
    if share >= MOSTLY:
        return Finding(
            Limit.CHECKPOINT,
            f"{store} is the limit: {disk:.0%} of its transactions wait for its disk ({events}), mostly while it "
            "writes a checkpoint",
            meters.writing,
            (_writing(meters), _waiting(meters, Wait.DISK), checkpoint),
            against,
            "raise max_wal_size, so that checkpoints are fewer (checkpoint_timeout and checkpoint_completion_target "
            "spread them)",
            gain=_up_to(meters, max(meters.cpu, 1 - disk)),
            unseen="how fast the disk is, and who else uses it",
        )
    return Finding(
        Limit.STORE_DISK,
        f"{store} is the limit: {disk:.0%} of its transactions wait for its disk ({events})",
        meters.writing,
        (_writing(meters), _waiting(meters, Wait.DISK)),
        (*against, checkpoint),
        "a faster disk"
        if meters.service is Service.TABLEINATOR
        else "a larger page cache (server.memory.pagecache.size), or a faster disk",
        gain=_up_to(meters, max(meters.cpu, 1 - disk)),
        unseen="how fast the disk is, and who else uses it",
    )


def _of_store_locks(meters: Meters) -> Finding:
    store, locks = meters.store, meters.share_in(Wait.LOCKS)
    return Finding(
        Limit.STORE_LOCKS,
        f"{store} is the limit: {locks:.0%} of its transactions wait for locks "
        f"({' and '.join(meters.events_of(Wait.LOCKS)[:2])})",
        meters.writing,
        (_writing(meters), _waiting(meters, Wait.LOCKS)),
        (_cpu(meters), _waiting(meters, Wait.DISK), _failing(meters)),
        _LOCKED[meters.service],
        gain=_up_to(meters, max(meters.cpu, 1 - locks)),
        unseen="who holds them",
    )


def _of_round_trips(meters: Meters) -> Finding:
    store, client = meters.store, meters.share_in(Wait.CLIENT)
    return Finding(
        Limit.ROUND_TRIPS,
        f"the way to {store} is the limit: {client:.0%} of the transactions wait for their next statement",
        meters.writing,
        (_writing(meters), _waiting(meters, Wait.CLIENT)),
        (_cpu(meters), _waiting(meters, Wait.DISK), _waiting(meters, Wait.LOCKS)),
        f"run {meters.service} nearer to {store}; else more of {_VARIABLES[meters.service]}_WRITERS, which wait at the "
        "same time",
        gain=_up_to(meters, max(meters.cpu, 1 - client)),
        unseen="the network",
    )


_STOPS = {
    "refusing everything": "spindle_refusing_everything",
    "handed back": "spindle_handed_back",
    "suspects": "spindle_suspects",
    "paused": "spindle_paused",
}

_LOCKED = {
    Service.TABLEINATOR: "see who holds them (pg_blocking_pids): another client, or replicas that write the same ids",
    Service.GRAPHINATOR: "lower NEO4J_WRITERS, or run one replica less: they write to the same nodes",
}

_IN_THE_STORE: Mapping[Wait, Callable[[Meters], Finding]] = {
    Wait.LOCKS: _of_store_locks,
    Wait.DISK: _of_store_disk,
    Wait.CLIENT: _of_round_trips,
    Wait.COMPUTES: _of_store_cpu,
}


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
    if meters.lag >= LATE:
        return Finding(
            Limit.LOOP_LAG,
            f"the event loop is up to {meters.lag:.1f} s late, while the process gets {meters.cpu:.2f} of a core",
            meters.lag,
            (_lag(meters),),
            stages,
            "give the process a whole core: others take the machine's",
            gain,
        )
    if meters.fill is not None and meters.by_bytes > HALF_EMPTY:
        metric = 'spindle_batch_size_records_count{trigger="bytes"}'
        return Finding(
            Limit.BYTES,
            f"{meters.by_bytes:.0%} of the batches are closed by their bytes, not by their number",
            meters.by_bytes,
            (_evidence(meters, "share of batches closed by bytes", meters.by_bytes, HALF_EMPTY, metric),),
            stages,
            "raise BATCH_MAX_BYTES, and SOURCE_MAX_BYTES with it",
            gain,
        )
    if meters.fill is not None and meters.fill < HALF_EMPTY:
        return _of_half_empty_batches(meters, gain)
    return Finding(
        Limit.UNKNOWN,
        "records wait, and nothing that can be seen from here is busy",
        1 - max(meters.writing, meters.cpu),
        stages,
        (_lag(meters),),
        "look at the way between broker and service (network, RabbitMQ's flow control), and for longer (--seconds)",
        unseen="the network, and what RabbitMQ does",
    )


def _of_half_empty_batches(meters: Meters, gain: float) -> Finding:
    """More waits, and does not get into the batches: there is no room for it, or they are closed too early."""
    variable, fill = _VARIABLES[meters.service], meters.fill or 0.0
    if meters.unsettled < _needed(meters):
        return Finding(
            Limit.PREFETCH,
            f"batches are {fill:.0%} full although more waits: the prefetch is too small for them",
            1 - fill,
            (_fill(meters), _prefetched(meters)),
            _stages(meters),
            f"raise {variable}_PREFETCH to (writers + 2) x batch size, or leave it unset",
            gain,
            unseen="whether the broker is too slow to send more",
        )
    return Finding(
        Limit.BATCHES,
        f"batches are {fill:.0%} full although more is in hand: something closes them early",
        1 - fill,
        (_fill(meters),),
        (_prefetched(meters), *_stages(meters)),
        f"raise {variable}_BATCH_FLUSH_INTERVAL; see on the board what closes them",
        gain,
        unseen="records of one id that follow each other: a batch ends before the second",
    )


def _up_to(meters: Meters, next_share: float) -> float:
    """Records per second more until the next stage is busy all the time."""
    return meters.rate * (1 / max(0.05, next_share) - 1)
