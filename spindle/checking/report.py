"""The results of checks, for a person and for a program."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import Any

from rich.table import Table

from spindle.checking.classes import LISTED, Class
from spindle.checking.diff import Result

EXAMPLES = 10


def results_table(results: Sequence[Result]) -> Table:
    """A row per kind and store."""
    table = Table("kind", "store", box=None, pad_edge=False)
    for heading in ("same", "newer", "skipped", "lost", "different", "dead", "gone"):
        table.add_column(heading, justify="right")
    table.add_column("complete")
    for result in results:
        of = result.counts.of
        counts = (
            of[each]
            for each in (
                Class.SAME,
                Class.NEWER,
                Class.SKIPPED,
                Class.LOST,
                Class.DIFFERENT,
                Class.DEAD,
                Class.GONE,
            )
        )
        complete = "[green]yes[/]" if result.counts.complete else "[bold red]NO[/]"
        table.add_row(result.subject.kind, result.subject.store, *(f"{count:,}" for count in counts), complete)
    return table


def lines(results: Sequence[Result]) -> Iterator[str]:
    """The first ids of each class that is not as it should be, and what can't be read from the table."""
    for result in results:
        subject, of = result.subject, result.counts.of
        if result.resumed:
            since = datetime.fromisoformat(result.began_at).astimezone()
            yield f"{subject.store}: {subject.kind} was resumed: its first ids were judged at {since:%H:%M}"
        for found in sorted(LISTED):
            if of[found]:
                more = ", …" if of[found] > EXAMPLES else ""
                ids = ", ".join(_first(result, found))
                yield f"{subject.store}: {of[found]:,} {subject.kind} {found.label}: {ids}{more}"
        if of[Class.OTHER_MODEL]:
            yield (
                f"{subject.store}: {of[Class.OTHER_MODEL]:,} {subject.kind} are by another version of the graph's "
                "model: they are complete, and are written again when they arrive again"
            )
        if result.counts.unnumbered:
            yield (
                f"{subject.store}: {result.counts.unnumbered:,} {subject.kind} have ids that are no numbers as a dump "
                "has them: nothing is said of these"
            )


def as_data(load: str, results: Sequence[Result], lacking: Sequence[str], remarks: Sequence[str]) -> dict[str, Any]:
    """For a program; `lacking`: kinds that have no manifest."""
    return {
        "load": load,
        "complete": not lacking and all(result.counts.complete for result in results),
        "without_manifest": list(lacking),
        "remarks": list(remarks),
        "checks": [
            {
                "kind": result.subject.kind,
                "store": result.subject.store,
                "complete": result.counts.complete,
                **result.counts.as_data(),
                "missing": result.counts.missing,
                "examples": {found.label: _first(result, found) for found in sorted(LISTED) if result.counts.of[found]},
                "diff": str(result.path),
                "manifest": result.subject.manifest,
                "resumed": result.resumed,
                "began_at": result.began_at,
                "finished_at": result.finished_at,
            }
            for result in results
        ],
    }


def _first(result: Result, found: Class) -> list[str]:
    return [str(number) for number in islice(result.ids(found), EXAMPLES)]
