"""What a check says of an id: exactly one class, decided from the manifest, the store and the dead letters. Pure.

An id of the manifest is judged in this order; the first that holds is its class:
1. stored with the manifest's hash, whichever load brought it: `same` (by another version of the graph's model:
   `other_model`);
2. stored from a later load: `newer`;
3. not published, because nobody could read it: `skipped`;
4. among the dead letters of this load: `dead`;
5. stored, with another hash: `different`; not stored (in the graph: no node, or a stub): `lost`.

An id that is stored and not in the manifest is `gone` if no later load has stored it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final, NamedTuple

from spindle.checking.id_set import IdSet

SKIPPED_FLAG: Final = 1
"""The manifest's flag of a record that the dump has and nobody could read."""

NO_HASH: Final = "0" * 16
"""The prefix of a record that has none: a manifest of ids only can tell what is missing and gone, and no difference."""


class Class(IntEnum):
    """What a check says of an id. The numbers are those of the diff file."""

    SAME = 0
    NEWER = 1
    SKIPPED = 2
    OTHER_MODEL = 3
    DIFFERENT = 4
    LOST = 5
    DEAD = 6
    GONE = 7

    @property
    def label(self) -> str:
        """As reports have it."""
        return self.name.lower()


LISTED: Final = frozenset({Class.DIFFERENT, Class.LOST, Class.DEAD, Class.GONE})
"""The classes whose ids the diff file names."""


class Stored(NamedTuple):
    """What a store has under an id. `hash`: the producer's, in hex; `is_current`: by this version of the model."""

    hash: str
    version: str | None
    is_current: bool = True


Entry = tuple[int, str, int]
"""A manifest's row: id, the first 16 hex digits of its hash, flag."""

Listed = tuple[int, Class]
"""An id that is not as it should be."""


@dataclass(slots=True)
class Counts:
    """How many ids are of each class; `dead_missing`: of the dead, those that are not stored at all."""

    of: dict[Class, int] = field(default_factory=lambda: dict.fromkeys(Class, 0))
    dead_missing: int = 0
    unnumbered: int = 0
    """Stored ids that are no numbers as a manifest has them: nothing is said of these, and they are never removed."""

    @property
    def missing(self) -> int:
        """Ids of the manifest that are not stored and should be."""
        return self.of[Class.LOST] + self.dead_missing

    @property
    def complete(self) -> bool:
        """Whether every published record is stored, or among the dead letters for somebody to decide about."""
        return not self.of[Class.LOST] and not self.of[Class.DIFFERENT]

    def as_data(self) -> dict[str, int]:
        """For a program."""
        return {
            **{each.label: self.of[each] for each in Class},
            "dead_missing": self.dead_missing,
            "unnumbered": self.unnumbered,
        }

    @classmethod
    def from_data(cls, counts: Mapping[str, int]) -> "Counts":
        """What `as_data` has given."""
        return cls({each: counts[each.label] for each in Class}, counts["dead_missing"], counts["unnumbered"])


def classify(entry: Entry, stored: Stored | None, load: str) -> Class:
    """Judge an id of the manifest, before anything is known of dead letters."""
    _, prefix, flag = entry
    if stored is not None:
        if flag != SKIPPED_FLAG and (stored.hash[:16] == prefix or prefix == NO_HASH):
            return Class.SAME if stored.is_current else Class.OTHER_MODEL
        if stored.version is not None and stored.version > load:
            return Class.NEWER
    if flag == SKIPPED_FLAG:
        return Class.SKIPPED
    return Class.LOST if stored is None else Class.DIFFERENT


def is_gone(stored: Stored | None, load: str) -> bool:
    """Whether what is stored under an id that the manifest does not have is left over from an earlier load."""
    return stored is not None and (stored.version is None or stored.version <= load)


def number_of(stored_id: str) -> int | None:
    """The number that an id is, as a manifest has it; None for `007`, `x` and what is beyond 32 bits."""
    if not (stored_id.isascii() and stored_id.isdecimal()) or (stored_id[0] == "0" and stored_id != "0"):
        return None
    number = int(stored_id) if len(stored_id) <= 10 else 1 << 32
    return number if number < 1 << 32 else None


class Judge:
    """One kind in one store, judged chunk by chunk; holds nothing but counts."""

    def __init__(self, load: str, counts: Counts | None = None) -> None:
        self.load = load
        self.counts = counts or Counts()

    def judge(self, entries: Sequence[Entry], stored: Mapping[int, Stored]) -> list[Listed]:
        """Judge a chunk of the manifest. Returns: the ids that are not as they should be."""
        listed = []
        of, load = self.counts.of, self.load
        for entry in entries:
            found = classify(entry, stored.get(entry[0]), load)
            of[found] += 1
            if found in LISTED:
                listed.append((entry[0], found))
        return listed

    def candidates(self, page: Sequence[tuple[str, str | None]], known: IdSet) -> list[int]:
        """The ids of a page of the store, each with its version, that seem to be gone."""
        seeming = []
        for stored_id, version in page:
            number = number_of(stored_id)
            if number is None:
                self.counts.unnumbered += 1
            elif number not in known and (version is None or version <= self.load):
                seeming.append(number)
        return seeming

    def gone(self, seeming: Sequence[int], stored: Mapping[int, Stored]) -> list[Listed]:
        """Judge those that seemed to be gone by what is stored now."""
        gone = [(number, Class.GONE) for number in seeming if is_gone(stored.get(number), self.load)]
        self.counts.of[Class.GONE] += len(gone)
        return gone

    def settle(self, listed: Iterator[Listed], dead: IdSet) -> Iterator[Listed]:
        """Say of each listed id, now that the dead letters are known, whether it is one of them."""
        of = self.counts.of
        for number, found in listed:
            if found in (Class.LOST, Class.DIFFERENT) and number in dead:
                of[found] -= 1
                of[Class.DEAD] += 1
                self.counts.dead_missing += found is Class.LOST
                yield number, Class.DEAD
            else:
                yield number, found
