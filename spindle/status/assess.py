"""What a picture means for an operator: a verdict, and a sentence for each thing that is wrong. Pure."""

from collections.abc import Iterator
from enum import IntEnum

from common.kinds import Names
from spindle.status.snapshot import TAKE_TURNS, KindState, Picture, ServiceState

STILL = 30.0
"""Seconds for which a delivery may wait while its service settles nothing at all: several batches of a slow store."""


class Verdict(IntEnum):
    """The exit code of `spindle status`."""

    HEALTHY = 0
    DEGRADED = 1
    UNREACHABLE = 2


def judge(picture: Picture, names: Names) -> tuple[Verdict, list[str]]:
    """The verdict and what is wrong; unreachable is where the broker, or a whole service, can't be asked."""
    out_of_reach = list(_out_of_reach(picture))
    wrong = [*out_of_reach, *_wrong(picture, names)]
    if out_of_reach:
        return Verdict.UNREACHABLE, wrong
    return (Verdict.DEGRADED if wrong else Verdict.HEALTHY), wrong


def _out_of_reach(picture: Picture) -> Iterator[str]:
    if not picture.broker.is_reachable:
        yield f"RabbitMQ can't be asked: {picture.broker.trouble}"
    for state in picture.services:
        if not any(replica.answers for replica in state.replicas):
            yield f"{state.service}: no replica answers"


def _wrong(picture: Picture, names: Names) -> Iterator[str]:
    """What needs a person soonest comes first: a small screen shows no more than the beginning."""
    for alarm in picture.broker.alarms:
        yield f"RabbitMQ lacks {alarm} and takes no messages: see the runbook"
    yield from picture.broker.deleting
    for state in picture.services:
        for replica in state.replicas:
            for sentence in replica.trouble:
                yield f"{state.service} at {replica.address}: {sentence}"
        if state.publishing_blocked:
            yield f"{state.service}: RabbitMQ takes no dead letters (memory or disk alarm)"
    for state in picture.services:
        for kind in state.kinds:
            for sentence in _wrong_with(kind, state, picture, names):
                yield f"{state.service}, {kind.kind}: {sentence}"
    for state in picture.services:
        yield from _dead_letters(state, names)


def _wrong_with(kind: KindState, state: ServiceState, picture: Picture, names: Names) -> Iterator[str]:
    begun = any(replica.has_begun for replica in state.replicas)
    waits = not begun and any(replica.answers for replica in state.replicas)  # it says so, and what for
    if picture.broker.is_reachable and kind.ready is None and not waits:
        yield f"the queue {names.queue(state.service, kind.kind)} does not exist"
    if begun and not kind.replicas:
        yield "no replica works on it"
    for flag in kind.flags:
        yield f"paused {kind.paused}" if flag == "paused" and kind.paused else _MEANINGS[flag]
    if _stands_still(kind, state) and not kind.flags and not state.breaker_open:
        yield f"{kind.backlog:,} records wait, and none has been settled for {kind.oldest:,.0f} s"


def _dead_letters(state: ServiceState, names: Names) -> Iterator[str]:
    waiting = {kind.kind: kind.dead_letters for kind in state.kinds if kind.dead_letters}
    if len(waiting) == 1:
        [(kind, count)] = waiting.items()
        yield f"{state.service}, {kind}: {count:,} dead letters wait in {names.dead_letter_queue(state.service, kind)}"
    elif waiting:
        each = ", ".join(f"{kind} {count:,}" for kind, count in waiting.items())
        yield f"{state.service}: {sum(waiting.values()):,} dead letters wait ({each})"


_MEANINGS = {
    "refusing everything": "everything is refused, and held: look at the store and at the records' producer",
    "handed back": "its deliveries are back with RabbitMQ until the store can be written to again",
    "paused": "paused: its deliveries wait in RabbitMQ",
    "suspects": "records were refused for an unknown reason, and await the evidence",
}


def _stands_still(kind: KindState, state: ServiceState) -> bool:
    # Kinds wait for one another where they share a store's writers.
    moves = any(each.rate for each in state.kinds) if state.service in TAKE_TURNS else bool(kind.rate)
    return bool(kind.backlog) and kind.oldest > STILL and not moves
