"""Where one record is: what the stores, the dead letters and the manifests say of it, and what follows. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from common.kinds import Service
from extractor.manifest.format import NO_HASH, SKIPPED, UNCHANGED, Row

STORES = {"tables": Service.TABLEINATOR, "graph": Service.GRAPHINATOR}
"""What a store is called, and the service that writes it."""


@dataclass(frozen=True, slots=True)
class Stored:
    """What a store holds under an id."""

    store: str
    found: tuple[str, str | None] | None
    """Hash and load; None if no record is stored."""
    is_current: bool = True
    """Written by the store's present model."""
    problem: str = ""
    """Why the store could not be asked."""


@dataclass(frozen=True, slots=True)
class Listed:
    """What a load's manifest says."""

    load: str
    row: Row | None
    problem: str = ""
    """Why the manifest can't be used."""


@dataclass(frozen=True, slots=True)
class Dead:
    """A dead letter of the record."""

    service: Service
    reason: str
    load: str | None
    time: str


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """All of it; `listed` is by load, the newest last."""

    kind: str
    id: str
    stored: Sequence[Stored]
    listed: Sequence[Listed]
    dead: Sequence[Dead]
    dead_problem: str = ""

    @property
    def newest(self) -> Listed | None:
        """The newest manifest that can be used."""
        return next((each for each in reversed(self.listed) if not each.problem), None)


def explain(whereabouts: Whereabouts) -> Iterator[str]:
    """A sentence for each store: whether it holds what it should, and why not."""
    for stored in whereabouts.stored:
        yield f"{stored.store}: {_why(stored, whereabouts)}"


def flag_text(row: Row | None) -> str:
    """What a manifest's row says, in words."""
    if row is None:
        return "not in the dump"
    return {SKIPPED: "skipped: it could not be read", UNCHANGED: "not published: unchanged"}.get(row.flag, "listed")


def _why(stored: Stored, whereabouts: Whereabouts) -> str:
    if stored.problem:
        return f"can't tell: {stored.problem}"
    newest = whereabouts.newest
    if newest is None:
        return "stored; no manifest says what should be" if stored.found else "not stored, and no manifest lists it"
    if stored.found is None:
        return _why_absent(stored, newest, whereabouts.dead)
    return _why_stored(stored, stored.found, newest, whereabouts.dead)


def _why_absent(stored: Stored, newest: Listed, dead: Sequence[Dead]) -> str:
    if newest.row is None:
        return f"not stored, and the dump of {newest.load} does not have it"
    if newest.row.flag == SKIPPED:
        return f"not stored: the dump of {newest.load} has it, and it could not be read"
    if letters := _of(dead, stored):
        return f"not stored: it is a dead letter ({letters[-1].reason}). See `spindle dead-letters show`"
    return (
        f"not stored, and the dump of {newest.load} has it: it is still under way, or lost. "
        "`spindle check --repair` publishes what is lost"
    )


def _why_stored(stored: Stored, found: tuple[str, str | None], newest: Listed, dead: Sequence[Dead]) -> str:
    hash_, load = found
    if load is not None and load > newest.load:
        return f"stored from {load}, which is newer than the newest manifest ({newest.load})"
    if newest.row is None:
        return f"stored, and gone from the dump of {newest.load}: `spindle remove` removes it"
    if newest.row.flag == SKIPPED:
        return f"stored from {load or 'an unknown load'}: in the dump of {newest.load} it could not be read"
    if newest.row.sha256 == NO_HASH:
        return f"stored; the manifest of {newest.load} has ids only, so that nothing is compared"
    if _beginning(hash_) != newest.row.sha256:
        letters = _of(dead, stored)
        how = f"its newer form is a dead letter ({letters[-1].reason})" if letters else "still under way, or lost"
        return f"stored from {load or 'an unknown load'}, and not as the dump of {newest.load} has it: {how}"
    if not stored.is_current:
        return "current, by an earlier model: `spindle reprocess` has it written again"
    return f"current: as the dump of {newest.load} has it"


def _of(dead: Sequence[Dead], stored: Stored) -> list[Dead]:
    return [each for each in dead if each.service == STORES[stored.store]]


def _beginning(hash_: str) -> bytes | None:
    try:
        return bytes.fromhex(hash_[:16])
    except ValueError:
        return None
