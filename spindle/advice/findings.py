"""What limits a service, judged by its meters: one limit, what speaks for it and against it, and one change. Pure.

The limit is the stage that is busy nearly all of the time while records wait before it. Where nothing waits, the
services keep up with the producer, and there is nothing to find.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from common.kinds import Service
from common.ops.waits import Wait
from common.outcomes import Outcome
from spindle.advice import evidence
from spindle.advice.evidence import (
    ALIKE,
    BATCHES_WAITING,
    BUSY,
    ENOUGH,
    HALF_BUSY,
    LATE,
    LONG,
    MOSTLY,
    NEARLY,
    OFTEN,
    REPEATED,
    SEEN,
    SET_ASIDE,
    Evidence,
)
from spindle.advice.in_batches import of_half_empty_batches, of_small_batches
from spindle.advice.in_store import of_late_loop, of_store
from spindle.advice.limits import Finding, Limit, gain_up_to
from spindle.advice.meters import Meters

_STOPS = {
    "refusing everything": "spindle_refusing_everything",
    "handed back": "spindle_handed_back",
    "suspects": "spindle_suspects",
    "paused": "spindle_paused",
}


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
    unseen: str = ""
    """What could not be seen in the store, or why."""
    behind: bool | None = None
    """Whether records waited most of the time, whatever was found; None if it can't be judged."""


@dataclass(frozen=True, slots=True)
class Phase:
    """A part of the window in which one thing limited. Times are seconds from its begin. `limit`: None if there was too
    little to judge by. `rate`: records per second. `behind`: as in `Advice`.
    """

    begin: float
    end: float
    limit: Limit | None
    sentence: str
    rate: float
    behind: bool | None


def advise(service: Service, meters: Meters | None) -> Advice:
    """Judge a service by its meters; None: no process of it answered from the first look to the last."""
    if meters is None:
        return Advice(service, "no replica answered from the first look to the last", judged=False)
    advice = _advise(service, meters)
    advice = replace(advice, behind=_wait(meters, meters.backlog) if advice.judged else None)
    if not meters.restarted:
        return advice
    return replace(advice, verdict=f"{advice.verdict}; replicas that began or ended meanwhile are not in it")


def _advise(service: Service, meters: Meters) -> Advice:
    trouble = list(_trouble(meters))
    if not trouble and not meters.pace and meters.seconds >= LONG and meters.due and _is_behind(meters):
        trouble = [_standstill(meters)]
    if (sum(meters.paced.values()) if _is_behind(meters) else meters.records) < ENOUGH:
        return _of_little(meters, trouble)
    found = [*trouble, *_of_records(meters)]
    if not _is_behind(meters):
        found += _of_broker(meters)
        verdict = f"keeps up with what is published: {meters.rate:,.0f} records/s, and nothing waits"
        limit = found[0].limit if found else Limit.PUBLISHER
        return Advice(service, verdict, tuple(found), aside_of(meters, found), limit=limit)
    if not meters.backlog and max(meters.writing, meters.cpu) < BUSY:
        verdict = f"{meters.rate:,.0f} records/s; nothing is busy, and whether records wait can't be seen"
        return Advice(service, verdict, tuple(found), aside_of(meters, found), judged=False)
    main = _limit(meters)
    if main.limit is Limit.UNKNOWN and found:
        main = found[0]  # that nothing is busy adds nothing to what is known to be the matter
    else:
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
    settled = sum(meters.paced.values())
    few = f"only {settled:,} records{meters.of_kind} in {meters.seconds:.0f} s, too few to judge by"
    what = ": look for longer (--seconds)" if meters.backlog else ", and whether more wait can't be seen"
    return Advice(meters.service, few + what, judged=False)


def _is_behind(meters: Meters) -> bool:
    """Whether records waited at half of the looks or more; if the broker can't be asked, they are taken to have."""
    return _wait(meters, meters.due)


def _wait(meters: Meters, backlog: Sequence[int]) -> bool:
    if not backlog:
        return True
    least = BATCHES_WAITING * meters.batch
    return sum(waiting > least for waiting in backlog) >= len(backlog) / 2


def aside_of(meters: Meters, found: Sequence[Finding]) -> tuple[Evidence, ...]:
    """What was looked at and is not the limit."""
    shown = [each.meter for finding in found for each in finding.evidence]
    looked_at = [
        *evidence.stages(meters),
        evidence.lag(meters),
        evidence.failing(meters),
        evidence.dead_lettered(meters),
    ]
    if meters.blocked is not None:
        looked_at.append(evidence.alarm(meters))
    if meters.broker_memory is not None:
        looked_at.append(evidence.broker_memory(meters))
    if meters.seen >= SEEN:
        looked_at += [evidence.waiting(meters, wait) for wait in (Wait.DISK, Wait.LOCKS)]
    return tuple(each for each in looked_at if each.meter not in shown and each.value < each.bound)


# What is the matter, whatever limits besides.


def _trouble(meters: Meters) -> Iterator[Finding]:
    store, service = meters.store or "the store", meters.service
    if meters.away >= OFTEN:
        yield Finding(
            Limit.STORE_AWAY,
            f"{store} was held to be unavailable {meters.away:.0%} of the time",
            meters.away,
            (evidence.away(meters),),
            (evidence.failing(meters),),
            f"look at {store} first: `spindle doctor` says what it refuses",
        )
    for kind, why in meters.stopped.items():
        yield Finding(
            Limit.STOPPED,
            f"{kind} {'holds records back' if kind in meters.moving else 'stands still'}: {why}",
            1.0,
            (evidence.evidence_of(meters, f"{why}, {kind}", 1.0, 1.0, _STOPS.get(why, "")),),
            (),
            f"`spindle resume {service} {kind}`" if why == "paused" else "see the runbook: `spindle status` names it",
        )
    if (meters.blocked or 0.0) >= OFTEN:
        yield Finding(
            Limit.BROKER_ALARM,
            f"RabbitMQ took no messages {meters.blocked:.0%} of the time: memory or disk alarm",
            meters.blocked or 0.0,
            (evidence.alarm(meters),),
            (evidence.broker_memory(meters),) if meters.broker_memory is not None else (),
            "lower EXTRACTOR_MAX_BACKLOG, or give the broker more memory or disk",
        )
    if (meters.broker_memory or 0.0) >= NEARLY and (meters.blocked or 0.0) < OFTEN:
        yield Finding(
            Limit.MEMORY,
            f"RabbitMQ uses {meters.broker_memory:.0%} of its memory ceiling: above it, it takes no messages",
            meters.broker_memory or 0.0,
            (evidence.broker_memory(meters),),
            (evidence.alarm(meters),),
            "lower EXTRACTOR_MAX_BACKLOG, or raise vm_memory_high_watermark or the memory that RabbitMQ may have",
            unseen="what else on that machine needs memory",
        )
    if meters.failing >= OFTEN:
        yield Finding(
            Limit.RETRIES,
            f"{meters.failing:.0%} of the writers' time went into transactions that stored nothing",
            meters.failing,
            (evidence.failing(meters),),
            (evidence.away(meters),),
            f"see which they are (conflicts, time limits, refusals) on the board, or in the log of {service}",
            gain=meters.rate * meters.failing / max(0.01, meters.storing),
        )


def _standstill(meters: Meters) -> Finding:
    """Records wait, and not one was settled: transactions under way say whether it is the store."""
    hangs = meters.in_use > 0
    where = f"{meters.in_use:.0f} of its transactions are under way" if hangs else "no transaction is under way"
    return Finding(
        Limit.STANDSTILL,
        f"nothing{meters.of_kind} was settled in {meters.seconds:.0f} s although records wait: {where}",
        1.0,
        (
            evidence.evidence_of(
                meters, "connections to the store in use", meters.in_use, 1.0, "spindle_pool_in_use_connections"
            ),
        ),
        tuple(evidence.waiting(meters, wait) for wait in Wait if meters.share_in(wait)),
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
            (evidence.dead_lettered(meters),),
            (evidence.failing(meters),),
            "`spindle dead-letters list` says why; have the producer fix it",
        )
    again = meters.paced_share_of(Outcome.UNCHANGED, Outcome.STALE, Outcome.SUPERSEDED)
    if again >= REPEATED and _is_behind(meters):
        yield Finding(
            Limit.DUPLICATES,
            f"{again:.0%} of the records{meters.of_kind} need no writing: stored already, or overtaken by a later one "
            "of the same id",
            again,
            (evidence.stored_already(meters),),
            (evidence.writing(meters),),
            "publish what differs: `spindle load`, or the extractor with --since",
            gain=meters.pace * again / max(0.05, 1 - again),
            unseen="who publishes them again, and why",
        )


def _of_broker(meters: Meters) -> Iterator[Finding]:
    """Nothing waits: because nothing more is published, or because the broker takes no more?"""
    if (meters.flow or 0.0) >= MOSTLY and not meters.blocked:
        yield Finding(
            Limit.FLOW_CONTROL,
            f"RabbitMQ slowed publishers down {meters.flow:.0%} of the time, and the services keep up",
            meters.flow or 0.0,
            (evidence.flow_control(meters),),
            (*evidence.stages(meters), *([evidence.broker_memory(meters)] if meters.broker_memory is not None else ())),
            "give RabbitMQ's disk or CPU more room: quorum queues write each message before they confirm it",
            gain=gain_up_to(meters, max(meters.writing, meters.cpu)),
            unseen="what RabbitMQ waits for",
        )


# What is busy all the time.


def _limit(meters: Meters) -> Finding:
    writing, cpu = evidence.writing(meters), evidence.cpu(meters)
    if max(writing.value, cpu.value) < BUSY:
        return _of_idle_stages(meters)
    small = of_small_batches(meters)
    if small is not None:
        return small
    if abs(writing.value - cpu.value) < ALIKE:
        return Finding(
            Limit.BALANCED,
            f"balanced: {meters.store} and our own CPU are both busy all the time",
            min(writing.value, cpu.value),
            (writing, cpu),
            (evidence.lag(meters),),
            "one more replica, and more for the store; neither alone gains anything",
        )
    return of_store(meters) if writing.value > cpu.value else _of_cpu(meters)


def _of_cpu(meters: Meters) -> Finding:
    return Finding(
        Limit.CPU,
        f"our own CPU is the limit: a process uses {meters.cpu:.2f} of the one core that it can use",
        meters.cpu,
        (evidence.cpu(meters),),
        (evidence.writing(meters),),
        f"one more replica of {meters.service}",
        gain=gain_up_to(meters, meters.writing),
        unseen="whether the machine has another core free",
    )


def _by_half(finding: Finding, meters: Meters) -> Finding:
    """The same finding, with the bound by which it was made."""
    writing = evidence.writing(meters)
    shown = (replace(each, bound=HALF_BUSY) if each == writing else each for each in finding.evidence)
    return replace(finding, evidence=tuple(shown))


def _of_idle_stages(meters: Meters) -> Finding:
    """Records wait, and nothing is busy: what is waited for?"""
    if meters.lag >= LATE:
        return of_late_loop(meters)
    early = of_half_empty_batches(meters)
    if early is not None:
        return early
    if meters.writing >= HALF_BUSY and meters.cpu < meters.writing / 2:
        return _by_half(of_small_batches(meters) or of_store(meters), meters)
    return Finding(
        Limit.UNKNOWN,
        "records wait, and nothing that can be seen from here is busy",
        1 - max(meters.writing, meters.cpu),
        evidence.stages(meters),
        (evidence.lag(meters),),
        "look at the way between broker and service (network, RabbitMQ's flow control), and for longer (--seconds)",
        unseen="the network, and what RabbitMQ does",
    )
