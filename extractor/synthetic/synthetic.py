"""Synthetic loads: records as real ones are distributed, reproducible one by one, and the same records months later.

Record `i` of a kind has the id `i + 1` and depends on seed, kind, `i`, month and the size of the load alone: not on the
Python version, the process, or any record before it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from common.kinds import KINDS
from extractor.message import Record
from extractor.synthetic import months as months
from extractor.synthetic.hard_cases import harden
from extractor.synthetic.sampling import Dice, References, Space

SHARES = {"artists": 0.295, "labels": 0.07, "masters": 0.075, "releases": 0.56}
"""Of a load's records: as in the whole dump of 2026-09 (10.2 M, 2.42 M, 2.59 M and 19.4 M of 34.6 M)."""

HUGE_EVERY, HUGE_FIRST = 40_000, 4956
"""One release in 40,000, the first of them with id 4957, is as large as the largest known."""


@dataclass(frozen=True, slots=True)
class SyntheticLoad:
    """`count` records over all kinds, in the proportions of a whole dump, as they are in month `month`."""

    count: int
    seed: int
    month: int = 0
    date: str = ""
    """The load's version; if none is given, 1 January 2000 and `month` months: older than any dump, so that a real
    record replaces a made-up one of its id, and not the other way round."""
    kinds: tuple[str, ...] = KINDS

    def __post_init__(self) -> None:
        if not self.date:
            year, month = divmod(self.month, 12)
            object.__setattr__(self, "date", f"{2000 + year}{1 + month:02}01")

    def file_name(self, kind: str) -> str:
        """What the control message calls a kind's file: another name for other records."""
        return f"synthetic_{self.date}_{kind}_{self.count}records_seed{self.seed}_month{self.month}"


def base_counts(count: int) -> dict[str, int]:
    """How many records of each kind month 0 has; they sum to `count`."""
    counts = {kind: int(count * share) for kind, share in SHARES.items()}
    # What rounding down left over goes to the kinds that lost most, so that small loads add up too.
    lost = sorted(SHARES, key=lambda kind: counts[kind] - count * SHARES[kind])
    for kind in lost[: count - sum(counts.values())]:
        counts[kind] += 1
    return counts


def indices(load: SyntheticLoad, kind: str) -> range:
    """The indices of a kind's records, those included that are gone by the load's month."""
    return range(months.size(base_counts(load.count)[kind], load.month))


def synthetic_record(load: SyntheticLoad, kind: str, index: int) -> Record | None:
    """One record as it is in the load's month; None if it is gone by then."""
    space = _space(load.count)
    base = base_counts(load.count)[kind]
    since, next_since = (months.born(each, base) if load.month else 0 for each in (index, index + 1))
    if months.is_gone(load.seed, kind, index, load.month, since=since):
        return None
    maker = _makers()[kind]
    dice = Dice(f"{load.seed}:{kind}:{index}", link=maker.link)
    record = maker.make(dice, space, index + 1)
    harden(record, kind, dice)
    months.apply_changes(
        record, kind, space, seed=load.seed, index=index, since=since, next_since=next_since, month=load.month
    )
    return record


@cache
def _space(count: int) -> Space:
    counts = base_counts(count)
    return Space(**{kind: References(max(1, counts[kind])) for kind in KINDS})


class _Maker(NamedTuple):
    link: float
    make: Callable[[Dice, Space, int], Record]


@cache
def _makers() -> dict[str, _Maker]:
    # These make their tables as they are imported, half a second of work: none of it for a command that draws nothing.
    from extractor.synthetic import media, names, releases

    def release(dice: Dice, space: Space, number: int) -> Record:
        record = releases.release(dice, space, number)
        media.add_media(record, dice, space, huge=(number - 1) % HUGE_EVERY == HUGE_FIRST)
        return record

    return {
        "artists": _Maker(names.NAME_LINK, names.artist),
        "labels": _Maker(names.NAME_LINK, names.label),
        "masters": _Maker(names.MASTER_LINK, names.master),
        "releases": _Maker(releases.LINK, release),
    }
