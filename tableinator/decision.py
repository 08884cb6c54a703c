"""Decide what becomes of a record, from what is stored under its id. Plain functions: no I/O.

The rule, in this order:
1. nothing stored: new;
2. the same hash, and not an empty one: unchanged, whatever the versions say, because there is nothing to do;
3. both have a version and the stored one is newer: stale;
4. otherwise changed: also with an empty hash, which never proves that two records are the same.

Versions are dates as text (`20260301`) and compared as text by code point, here and in the statements alike. What is no
day of this century orders nothing, as in what comes in: an older version of ours has stored such.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from common.delivery import load_of
from common.outcomes import Outcome
from tableinator.model import Row


@dataclass(frozen=True, slots=True)
class StoredState:
    """What the look-up finds under an id."""

    hash: str
    version: str | None


def decide(row: Row, stored: StoredState | None) -> Outcome:
    """Decide about one row."""
    if stored is None:
        return Outcome.NEW
    if row.hash and row.hash == stored.hash:
        return Outcome.UNCHANGED
    if row.version is not None and stored.version is not None and row.version < stored.version:
        return Outcome.STALE if load_of(stored.version) else Outcome.CHANGED
    return Outcome.CHANGED


def positions(outcomes: Sequence[Outcome], *wanted: Outcome) -> list[int]:
    """Where in the batch these outcomes stand."""
    return [position for position, outcome in enumerate(outcomes) if outcome in wanted]


def by_id(rows: Sequence[Row], chosen: Iterable[int]) -> list[int]:
    """Order positions by id: every writer locks rows in the same order, so two of them never wait for each other."""
    return sorted(chosen, key=lambda position: rows[position].id)
