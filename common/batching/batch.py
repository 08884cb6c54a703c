"""Records flushed together: what a batch is, what closes one, and which of several versions of an id counts."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Generic

import msgspec

from common.delivery import Delivery
from common.envelope import Control
from common.sink import R


class Trigger(StrEnum):
    """Why a batch was closed."""

    SIZE = "size"
    BYTES = "bytes"
    INTERVAL = "interval"
    IDLE = "idle"
    BARRIER = "barrier"
    DRAIN = "drain"


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """What closes a batch. Times are in seconds."""

    size: int = 500
    """Records, at the most."""
    max_bytes: int = 8 * 1024 * 1024
    flush_interval: float = 2.0
    idle: float = 0.010
    """How long a first record waits for company while a writer is free."""
    worth_waiting: float = 0.050
    """How much longer it waits if the batch will be full by then, at the rate so far: a flood goes out in full ones."""
    refill: float = 0.25
    """How long it waits for a broker that has just been given room and had more to send: a slow one, or a busy machine,
    takes that long to go on with a backlog."""
    alone_after: int = 10
    """A delivery given out more often may be what kills the process: it is written alone, after the others."""
    alone_patience: float = 10.0
    """How long it waits for the others to be gone."""
    target: float | None = None
    """How long writing one may take: the size in use keeps to that. None: the size is always the same."""


class Item(msgspec.Struct, Generic[R], eq=False, gc=False):
    """A record with the delivery that it came in."""

    delivery: Delivery
    record: R


class Barrier(msgspec.Struct, eq=False, gc=False):
    """A control message with its delivery: nothing earlier of its channel may be unsettled when it is handled."""

    delivery: Delivery
    control: Control


@dataclass(slots=True, eq=False)
class Batch(Generic[R]):
    """Records flushed together: at most one per id, and those that lost to it."""

    items: list[Item[R]]
    trigger: Trigger
    losers: dict[str, list[Item[R]]] = field(default_factory=dict)
    all: list[Item[R]] = field(init=False)
    """Everything that it took from the stream."""

    def __post_init__(self) -> None:
        self.all = [*self.items, *(loser for same in self.losers.values() for loser in same)]

    @property
    def size(self) -> int:
        """How many records it took from the stream."""
        return len(self.all)


def resolve(items: list[Item[R]], trigger: Trigger) -> Batch[R]:
    """Make a batch in which every id stands once: the highest version, or the last to arrive."""
    if len({item.record.id for item in items}) == len(items):
        return Batch(items, trigger)
    versions = by_id(items)
    losers = {record_id: same for record_id, same in versions.items() if len(same) > 1}
    winners = [same[0] if len(same) == 1 else take_winner(same) for same in versions.values()]
    return Batch(winners, trigger, losers)


def first_run(items: Sequence[Item[R]], *, size: int, max_bytes: int) -> list[Item[R]]:
    """As many of the first items as fit a batch, at least one."""
    run: list[Item[R]] = []
    held = 0
    for item in items[:size]:
        held += len(item.delivery.body)
        if run and held > max_bytes:
            break
        run.append(item)
    return run


def by_id(items: Iterable[Item[R]]) -> dict[str, list[Item[R]]]:
    """Group by id; the ids, and of each its versions, in their order."""
    versions: dict[str, list[Item[R]]] = {}
    for item in items:
        versions.setdefault(item.record.id, []).append(item)
    return versions


def take_winner(same: list[Item[R]]) -> Item[R]:
    """Remove and return the one of several records of one id that counts."""
    best = 0
    for position in range(1, len(same)):
        if not _older(same[position].record.version, same[best].record.version):
            best = position
    return same.pop(best)


def ranked(same: Iterable[Item[R]]) -> list[Item[R]]:
    """Sort records of one id: what counts more comes first."""
    left = list(same)
    return [take_winner(left) for _ in range(len(left))]


def _older(version: str | None, other: str | None) -> bool:
    return version is not None and other is not None and version < other


def deliveries(items: Sequence[Item[R] | Barrier]) -> list[Delivery]:
    """The deliveries behind items."""
    return [item.delivery for item in items]
