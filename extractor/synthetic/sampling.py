"""What one synthetic record is drawn with: its own sequence of numbers, and what it may refer to.

Every record has a sequence of its own, seeded by load, kind and index, so that any record can be made alone.
"""

from dataclasses import dataclass
from math import exp, log
from random import Random
from typing import Any, TypeVar

from extractor.synthetic.texts import POOLS

V = TypeVar("V")

VARIOUS, UNKNOWN_ARTIST, NOT_ON_LABEL = 194, 355, 1818
"""The pseudo artists and the label that a large part of the graph hangs on."""

_PSEUDO_ARTISTS = {VARIOUS: "Various", UNKNOWN_ARTIST: "Unknown Artist"}
_DANGLING = 0.015
"""Share of references to a record that the load does not hold."""

_HEAD = 40
"""Ranks that share the lead: larger is flatter. With 40 the hottest of 6,000 artists gets 0.5% of all references."""


class Dice:
    """One record's numbers.

    `linked` draws of one record move together in part, because in life they do: what has many tracks has many credits
    and videos. Each still has its own distribution exactly.
    """

    __slots__ = ("_link", "_mood", "draw")

    def __init__(self, seed: str, *, link: float) -> None:
        self.draw = Random(seed).random  # noqa: S311 (made-up data, no secret)
        self._mood = self.draw()
        self._link = link

    def pick(self, table: list[V]) -> V:
        """One of a table."""
        return table[int(self.draw() * len(table))]

    def linked(self, table: list[V]) -> V:
        """One of an ordered table, more often than not where the record's other linked draws are too."""
        level = self._mood if self.draw() < self._link else self.draw()
        return table[int(level * len(table))]

    def linked_chance(self, share: float) -> bool:
        """Whether something is there that is there in this share of records; the busy ones first."""
        level = self._mood if self.draw() < self._link else self.draw()
        return level >= 1 - share

    def pick_some(self, table: list[str], count: int) -> list[str]:
        """Different ones of a table, which must hold more than that."""
        found: dict[str, None] = {}
        while len(found) < count:
            found[table[int(self.draw() * len(table))]] = None
        return list(found)


class References:
    """The ids 1 to `count` of one kind, a few of them much more often than the rest, and some that do not exist."""

    __slots__ = ("_low", "_span", "count")

    def __init__(self, count: int) -> None:
        self.count = count
        self._low = log(_HEAD)
        self._span = log(count + _HEAD) - self._low

    def pick(self, level: float) -> int:
        """An id, by an even number between 0 and 1."""
        if level < _DANGLING:
            return self.count + 1 + int(level / _DANGLING * (self.count // 10 + 100))
        return int(exp(self._low + self._span * (level - _DANGLING) / (1 - _DANGLING))) - _HEAD + 1


@dataclass(frozen=True, slots=True)
class Space:
    """The ids of a load, which references are drawn from: always those of month 0, so that later months agree."""

    artists: References
    labels: References
    masters: References
    releases: References


def artist_name(artist_id: int) -> str:
    """What an artist is called, in its own record and wherever it is credited."""
    return _PSEUDO_ARTISTS.get(artist_id) or _scattered(POOLS.artist_names, artist_id)


def label_name(label_id: int) -> str:
    """What a label is called, in its own record and on releases."""
    return "Not On Label" if label_id == NOT_ON_LABEL else _scattered(POOLS.label_names, label_id)


def reference(found: int, name: str) -> dict[str, Any]:
    """`{id, name}`."""
    return {"id": str(found), "name": name}


def _scattered(pool: list[str], number: int) -> str:
    """One of a pool by a number whose neighbours are elsewhere."""
    return pool[(number * 2654435761 >> 8) % len(pool)]
