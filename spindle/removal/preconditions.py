"""What must be true before anything is removed. Every precondition is looked at, and all that fail are named. Pure.

The evidence is positive, or nothing is removed: a dump that was read to its end and matches its checksum (made-up
records have none), a clean check bound to its manifest, no later load, and no older message still on its way, which
would bring a record back.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from common.delivery import load_of
from common.loads import Load
from extractor.manifest.format import Header
from spindle.checking.classes import Class
from spindle.checking.diff import Result

SHARE: Final = 0.005
"""Of a kind's records. In a real month one of 5,868 masters was gone, which is a thirtieth of it."""

TIMES_THE_LARGEST: Final = 5
"""Of the largest removal so far."""

SMALL: Final = 1000
OF_SMALL: Final = 5
"""Below 1,000 records of a kind at most 5 are removed: a share of little says nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """One kind in one store, as it is found."""

    header: Header
    result: Result | None
    """The check of this manifest; None if there is none, `problem` says why."""
    problem: str = ""
    ledger: Sequence[Load] = ()
    """The loads of this kind that the store's ledger knows."""
    newest_stored: str | None = None
    """Of a sample of the store."""
    newest_manifest: str = ""
    waiting: int | None = 0
    """Messages in the service's queue of this kind, unanswered ones included; None if nobody can tell."""
    untold: str = ""
    """Why nobody can tell what is in the queue."""
    older_letters: int = 0
    store: str
    kind: str

    @property
    def place(self) -> str:
        """What sentences begin with."""
        return f"{self.kind} in {self.store}"

    @property
    def gone(self) -> int:
        """How many ids would be removed."""
        return self.result.counts.of[Class.GONE] if self.result else 0


def refusals(facts: Facts) -> Iterator[str]:
    """A sentence for each precondition that is not met, the bound apart."""
    header, place = facts.header, facts.place
    if not load_of(header.load):
        yield f"{place}: {header.load!r} is not a load's date, such as 20260301, so that nothing is older or newer."
    if not header.complete:
        yield f"{place}: the manifest is not complete: the dump was not read to its end."
    if not header.is_whole:
        yield (
            f"{place}: the dump's checksum is {header.checksum}, not matched: put its CHECKSUM.txt beside "
            "it, and make the manifest again."
        )
    if header.unknown_skipped:
        yield (
            f"{place}: {header.unknown_skipped:,} records of the dump were skipped whose ids nobody knows: any of what "
            "seems to be gone may be one of them."
        )
    if header.ids_only:
        yield f"{place}: the manifest has ids only, so that nothing shows that what is stored is this load."
    if facts.result is None:
        yield f"{place}: {facts.problem}"
    else:
        yield from _of_check(facts, facts.result)
    yield from _of_others(facts)


def bound(facts: Facts) -> int:
    """How many ids may be removed without --exactly."""
    if facts.header.rows < SMALL:
        return OF_SMALL
    largest = max((load.removed or 0 for load in facts.ledger if load.load != facts.header.load), default=0)
    share = int(facts.header.rows * SHARE)
    return min(share, TIMES_THE_LARGEST * largest) if largest else share


def beyond(facts: Facts) -> str | None:
    """The sentence for a removal beyond its bound; None if it is within."""
    allowed = bound(facts)
    if facts.gone <= allowed:
        return None
    share = facts.gone / max(1, facts.header.rows)
    return (
        f"{facts.place}: {facts.gone:,} of {facts.header.rows:,} records are gone ({share:.2%}), and at most "
        f"{allowed:,} are removed unasked."
    )


def _of_check(facts: Facts, result: Result) -> Iterator[str]:
    of = result.counts.of
    if not result.counts.complete:
        yield (
            f"{facts.place}: the check is not clean: {of[Class.LOST]:,} lost, {of[Class.DIFFERENT]:,} different; "
            "repair, and check again."
        )
    known = next((load for load in facts.ledger if load.load == facts.header.load), None)
    if known is None or (known.manifest, known.gone) != (result.subject.manifest, of[Class.GONE]):
        yield (
            f"{facts.place}: the store's own ledger has no such check: it is another database, or was restored; check "
            "again."
        )
    began = datetime.fromisoformat(result.began_at)
    for load in facts.ledger:
        if load.load < facts.header.load and load.totals.at is not None and load.totals.at > began:
            yield f"{facts.place}: records of {load.load} were written after the check; check again."


def _of_others(facts: Facts) -> Iterator[str]:
    load = facts.header.load
    known = (facts.newest_manifest, facts.newest_stored or "", *(each.load for each in facts.ledger))
    if (newest := max(known)) > load:
        yield f"{facts.place}: {load} is not the newest load, {newest} is."
    if facts.waiting is None:
        yield f"{facts.place}: nobody can tell what is on its way: {facts.untold}."
    elif facts.waiting:
        yield (
            f"{facts.place}: {facts.waiting:,} messages wait in its queue or with its service: one of an older load "
            "may be among them."
        )
    if facts.older_letters:
        yield (
            f"{facts.place}: {facts.older_letters:,} dead letters are of an older load, or of none: replayed, they "
            "would bring back what is removed; drop or replay them first."
        )
