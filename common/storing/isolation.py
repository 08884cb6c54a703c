"""Find the records that a store refuses, and store all others.

If the store names the record, that one is taken out. If not, the batch is halved until the bad record stands alone.
Pure: the caller decides what a refusal leads to.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from common.errors import BatchTooLarge, Reason, RecordsRefused, Refusal
from common.outcomes import Outcomes

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Stored(Generic[T]):
    """These were written in one transaction."""

    items: Sequence[T]
    outcomes: Outcomes


@dataclass(frozen=True, slots=True)
class Refused(Generic[T]):
    """The store can never take this one."""

    item: T
    reason: Reason
    refusal: Refusal


@dataclass(frozen=True, slots=True)
class Suspected(Generic[T]):
    """The store failed on this one, alone, for a reason that may not be the record's: quarantine decides."""

    item: T
    refusal: Refusal


Verdict = Stored[T] | Refused[T] | Suspected[T]


async def isolate(write: Callable[[Sequence[T]], Awaitable[Outcomes]], items: Sequence[T]) -> AsyncIterator[Verdict[T]]:
    """Write all items that the store takes and give a verdict on each.

    One bad item among n costs one more transaction if the store names it, else at most 2·log2(n) + 2.
    Raises: whatever `write` raises beyond RecordsRefused and BatchTooLarge; what was yielded before stays true.
    """
    runs = [items]
    while runs:
        run = runs.pop()
        if not run:
            continue
        try:
            outcomes = await write(run)
        except RecordsRefused as error:
            named = _named(run, error)
            if named is None:
                runs.extend(_halves(run))
                continue
            for position in named:
                yield _verdict(run[position], error)
            runs.append([item for position, item in enumerate(run) if position not in named])
        except BatchTooLarge as error:
            if len(run) == 1:
                yield Refused(run[0], Reason.TOO_LARGE, error.refusal)
            else:
                runs.extend(_halves(run))
        else:
            yield Stored(run, outcomes)


def _named(run: Sequence[T], error: RecordsRefused) -> frozenset[int] | None:
    """The positions that are known to be meant; None if halving must find them."""
    if len(run) == 1:
        return frozenset({0})
    known = frozenset(position for position in error.positions or () if 0 <= position < len(run))
    return known or None


def _verdict(item: T, error: RecordsRefused) -> Refused[T] | Suspected[T]:
    if error.certain:
        return Refused(item, Reason.REFUSED, error.refusal)
    return Suspected(item, error.refusal)


def _halves(run: Sequence[T]) -> tuple[Sequence[T], Sequence[T]]:
    """The second half first: runs are taken from the end, so that the first half is written first."""
    middle = len(run) // 2
    return run[middle:], run[:middle]
