"""What limits, if the writers are in the store's transactions all the time: by what these do there. Pure."""

from collections.abc import Callable, Mapping

from common.kinds import Service
from common.ops.waits import Wait
from spindle.advice import evidence
from spindle.advice.evidence import BUSY, LATE, MOSTLY, OFTEN, SEEN, Evidence
from spindle.advice.limits import VARIABLES, Finding, Limit, gain_of_one_writer_more, gain_up_to
from spindle.advice.meters import Meters


def of_store(meters: Meters) -> Finding:
    """The writers are in transactions all the time: what do these do there?"""
    if meters.seen >= SEEN:
        for wait, describe in _IN_THE_STORE.items():
            if meters.share_in(wait) >= MOSTLY:
                return describe(meters)
    return _of_some_store(meters)


def _of_some_store(meters: Meters) -> Finding:
    """What the transactions wait for is not known, or several things."""
    store, variable = meters.store, f"{VARIABLES[meters.service]}_WRITERS"
    seen = [(wait, meters.share_in(wait)) for wait in Wait if meters.share_in(wait) >= OFTEN]
    seen = seen if meters.seen >= SEEN else []
    mixed = ", ".join(f"{share:.0%} {_FOUND[wait]} ({meters.events_of(wait)[0]})" for wait, share in seen)
    return Finding(
        Limit.STORE,
        f"{store} is the limit: the writers{meters.of_kind} spend {meters.writing:.0%} of their time in its "
        + "transactions"
        + (f"; these were found {mixed}" if mixed else ""),
        meters.writing,
        (evidence.writing(meters), *(evidence.waiting(meters, wait) for wait, _ in seen)),
        (evidence.cpu(meters), evidence.lag(meters)),
        f"one more of {variable} while {store} has CPU and disk to spare; else a faster disk or more cores",
        gain=gain_of_one_writer_more(meters),
        unseen="how much of its machine the store may use"
        if mixed
        else f"whether {store} computes, waits for its disk, or for locks",
    )


_FOUND = {
    Wait.COMPUTES: "computing",
    Wait.DISK: "waiting for its disk",
    Wait.LOCKS: "waiting for locks",
    Wait.CLIENT: "waiting for our next statement",
    Wait.OTHER: "at something else",
}


def _of_store_cpu(meters: Meters) -> Finding:
    store, variable = meters.store, f"{VARIABLES[meters.service]}_WRITERS"
    return Finding(
        Limit.STORE_CPU,
        f"{store} is the limit, and computes: the writers{meters.of_kind} spend {meters.writing:.0%} of their time in "
        "its transactions",
        meters.writing,
        (evidence.writing(meters), evidence.waiting(meters, Wait.COMPUTES)),
        (evidence.cpu(meters), evidence.waiting(meters, Wait.DISK), evidence.waiting(meters, Wait.LOCKS)),
        f"one more of {variable} if a core of {store}'s machine is free; else more cores",
        gain=gain_of_one_writer_more(meters),
        unseen="whether a core is free: a transaction that waits for one computes, for all that the store says",
    )


def _of_store_disk(meters: Meters) -> Finding:
    store, disk = meters.store, meters.share_in(Wait.DISK)
    events = " and ".join(meters.events_of(Wait.DISK)[:2])
    against = (evidence.cpu(meters), evidence.waiting(meters, Wait.LOCKS), evidence.waiting(meters, Wait.COMPUTES))
    checkpoint = _during_checkpoints(meters)
    if checkpoint is not None and checkpoint.value >= MOSTLY:
        return Finding(
            Limit.CHECKPOINT,
            f"{store} is the limit: {disk:.0%} of its transactions wait for its disk ({events}), mostly while it "
            "writes a checkpoint",
            meters.writing,
            (evidence.writing(meters), evidence.waiting(meters, Wait.DISK), checkpoint),
            against,
            "raise max_wal_size, so that checkpoints are fewer (checkpoint_timeout and checkpoint_completion_target "
            "spread them)",
            gain=gain_up_to(meters, max(meters.cpu, 1 - disk)),
            unseen="how fast the disk is, and who else uses it",
        )
    return Finding(
        Limit.STORE_DISK,
        f"{store} is the limit: {disk:.0%} of its transactions wait for its disk ({events})",
        meters.writing,
        (evidence.writing(meters), evidence.waiting(meters, Wait.DISK)),
        (*against, checkpoint) if checkpoint is not None else against,
        "a faster disk"
        if meters.service is Service.TABLEINATOR
        else "a larger page cache (server.memory.pagecache.size), or a faster disk",
        gain=gain_up_to(meters, max(meters.cpu, 1 - disk)),
        unseen="how fast the disk is, and who else uses it"
        + (_NO_CHECKPOINTER if checkpoint is None and meters.service is Service.TABLEINATOR else ""),
    )


_NO_CHECKPOINTER = "; and whether a checkpoint ran: only a member of pg_read_all_stats sees the checkpointer"


def _during_checkpoints(meters: Meters) -> Evidence | None:
    """How many of the waits for the disk fell into a checkpoint; None if nobody could see that."""
    seen = {each: count for each, count in meters.waits.items() if each.wait is Wait.DISK}
    known = {each: count for each, count in seen.items() if each.checkpoint is not None}
    if not known:
        return None
    share = sum(count for each, count in known.items() if each.checkpoint) / sum(known.values())
    return evidence.evidence_of(meters, "share of those while a checkpoint ran", share, MOSTLY, "pg_stat_activity")


def _of_store_locks(meters: Meters) -> Finding:
    store, locks = meters.store, meters.share_in(Wait.LOCKS)
    return Finding(
        Limit.STORE_LOCKS,
        f"{store} is the limit: {locks:.0%} of its transactions wait for locks "
        f"({' and '.join(meters.events_of(Wait.LOCKS)[:2])})",
        meters.writing,
        (evidence.writing(meters), evidence.waiting(meters, Wait.LOCKS)),
        (evidence.cpu(meters), evidence.waiting(meters, Wait.DISK), evidence.failing(meters)),
        _LOCKED[meters.service],
        gain=gain_up_to(meters, max(meters.cpu, 1 - locks)),
        unseen="who holds them",
    )


def _of_client(meters: Meters) -> Finding:
    """Transactions wait for our next statement: it is under way, or we are late with it, or compute what it carries."""
    late = sum(lag >= LATE for lag in meters.lags)
    # Late once is a hitch, which explains no wait but its own.
    is_why = late >= MOSTLY * len(meters.lags) or (late and meters.cpu >= BUSY)
    if is_why:
        return of_late_loop(meters)
    under_way = evidence.under_way(meters)
    return _of_round_trips(meters) if under_way.value >= under_way.bound else _of_some_store(meters)


def of_late_loop(meters: Meters) -> Finding:
    """The process does not get the core that it wants."""
    return Finding(
        Limit.LOOP_LAG,
        f"the event loop is up to {meters.lag:.1f} s late, while the process gets {meters.cpu:.2f} of a core",
        meters.lag,
        (evidence.lag(meters), *([evidence.waiting(meters, Wait.CLIENT)] if meters.seen >= SEEN else ())),
        evidence.stages(meters),
        "give the process a whole core: others take the machine's",
        gain_up_to(meters, max(meters.writing, meters.cpu)),
    )


def _of_round_trips(meters: Meters) -> Finding:
    store, client, lag = meters.store, meters.share_in(Wait.CLIENT), evidence.lag(meters)
    shown = (evidence.writing(meters), evidence.under_way(meters))
    against = (evidence.cpu(meters), evidence.waiting(meters, Wait.DISK))
    hitch = lag.value >= lag.bound
    return Finding(
        Limit.ROUND_TRIPS,
        f"the way to {store} is the limit: {client:.0%} of the transactions wait for their next statement",
        meters.writing,
        (*shown, lag) if hitch else shown,
        against if hitch else (*against, lag),
        f"run {meters.service} nearer to {store}; else more of {VARIABLES[meters.service]}_WRITERS, which wait at the "
        "same time",
        gain=gain_up_to(meters, max(meters.cpu, 1 - client)),
        unseen="the network",
    )


_LOCKED = {
    Service.TABLEINATOR: "see who holds them (pg_blocking_pids): another client, or replicas that write the same ids",
    Service.GRAPHINATOR: "lower NEO4J_WRITERS, or run one replica less: they write to the same nodes",
}

_IN_THE_STORE: Mapping[Wait, Callable[[Meters], Finding]] = {
    Wait.LOCKS: _of_store_locks,
    Wait.DISK: _of_store_disk,
    Wait.CLIENT: _of_client,
    Wait.COMPUTES: _of_store_cpu,
}
