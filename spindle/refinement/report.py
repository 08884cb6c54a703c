"""What a refinement would do, and what it did, for people and for programs. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from tableinator.ops.refinement.indexes import Planned
from tableinator.ops.refinement.refining import Refined
from tableinator.ops.refinement.surveying import Survey

_MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Usual:
    """What a record of a kind comes to: rows, bytes with the needed indexes, and records a second."""

    rows: float
    bytes: int
    pace: float


USUAL: Final[Mapping[str, Usual]] = {
    "artists": Usual(rows=3.0, bytes=350, pace=25_000),
    "labels": Usual(rows=1.4, bytes=290, pace=17_000),
    "masters": Usual(rows=7.4, bytes=1_150, pace=9_000),
    "releases": Usual(rows=33.0, bytes=3_800, pace=5_000),
}
"""Measured on made-up records, distributed as real ones are, on two cores: until a kind has figures of its own."""

_ENOUGH: Final = 1000
"""Refined records from which on a kind's own figures are used."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One kind's part of a run, as it is expected."""

    survey: Survey
    records: int
    rows: int
    bytes: int
    seconds: float


def plan_of(survey: Survey) -> Plan:
    """What a kind's part comes to: by its own figures if it has any."""
    usual, has_own = USUAL[survey.kind], survey.refined >= _ENOUGH and survey.rows > 0
    rows = survey.rows / survey.refined if has_own else usual.rows
    size = survey.bytes / survey.refined if has_own else usual.bytes
    records = survey.new + survey.changed + survey.gone + (survey.refined if survey.outdated else 0)
    written = survey.new + survey.changed
    return Plan(survey, records, round(written * rows), round(survey.new * size), records / (survey.pace or usual.pace))


def plan_table(plans: Sequence[Plan]) -> Table:
    """A row per kind."""
    table = Table("kind", box=None, pad_edge=False)
    for heading in ("refined", "new", "changed", "gone", "rows", "disk (MiB)", "seconds", "made again"):
        table.add_column(heading, justify="right", no_wrap=True)
    for plan in plans:
        numbers = (plan.survey.refined, plan.survey.new, plan.survey.changed, plan.survey.gone, plan.rows)
        shown = [f"{number:,}" for number in numbers]
        outdated = ", ".join(plan.survey.outdated) or "-"
        table.add_row(plan.survey.kind, *shown, f"{plan.bytes / _MIB:,.0f}", f"{plan.seconds:,.0f}", outdated)
    return table


def done_table(done: Sequence[Refined]) -> Table:
    """A row per kind."""
    table = Table("kind", box=None, pad_edge=False)
    for heading in ("records", "new", "changed", "gone", "failed", "inserted", "deleted", "seconds", "records/s"):
        table.add_column(heading, justify="right", no_wrap=True)
    for each in done:
        numbers = (each.records, each.new, each.changed, each.gone, each.failed)
        rows = (each.inserted.total(), each.deleted.total())
        pace = f"{each.records / each.seconds:,.0f}" if each.records and each.seconds else "-"
        table.add_row(each.kind, *(f"{n:,}" for n in (*numbers, *rows)), f"{each.seconds:,.1f}", pace)
    return table


def show(
    done: Sequence[Refined], failed: Sequence[Mapping[str, Any]], found: Mapping[str, int] | None, console: Console
) -> None:
    """Print what was done, and each record that could not be refined."""
    console.print(done_table(done))
    for each in done:
        if each.rebuilt:
            console.print(f"{each.kind}: made again: {', '.join(each.rebuilt)}", highlight=False)
    if found is not None:
        dangling = {column: count for column, count in found.items() if count}
        said = ", ".join(f"{count:,} of {column}" for column, count in dangling.items()) or "none"
        console.print(f"dangling references: {said}", highlight=False)
    for one in failed:
        said = f"{one['kind']} {one['data_id']} was skipped: {one['message']}"
        console.print(said, style="red", markup=False, highlight=False)
    console.print("[bold red]not all of it[/]" if failed else "[green]refined[/]", highlight=False)


def index_table(planned: Sequence[Planned]) -> Table:
    """A row per index that is to be made."""
    table = Table("index", "table", "by", box=None, pad_edge=False)
    table.add_column("disk (MiB)", justify="right", no_wrap=True)
    for each in planned:
        table.add_row(each.index.name, each.index.table, each.index.method, f"{each.bytes / _MIB:,.0f}")
    total = sum(each.bytes for each in planned)
    table.add_row("all of them", "", "", f"{total / _MIB:,.0f}")
    return table


def as_data(
    done: Sequence[Refined], failed: Sequence[Mapping[str, Any]], found: Mapping[str, int] | None
) -> dict[str, Any]:
    """For a program."""
    return {
        "kinds": [
            {
                "kind": each.kind,
                "records": each.records,
                "new": each.new,
                "changed": each.changed,
                "gone": each.gone,
                "failed": each.failed,
                "inserted": {name: count for name, count in each.inserted.items() if count},
                "deleted": {name: count for name, count in each.deleted.items() if count},
                "rebuilt": each.rebuilt,
                "seconds": round(each.seconds, 3),
            }
            for each in done
        ],
        "failures": [dict(each) for each in failed],
        "dangling": None if found is None else dict(found),
    }


def plan_as_data(plans: Sequence[Plan]) -> list[dict[str, Any]]:
    """For a program."""
    return [
        {
            "kind": plan.survey.kind,
            "refined": plan.survey.refined,
            "new": plan.survey.new,
            "changed": plan.survey.changed,
            "gone": plan.survey.gone,
            "rows": plan.rows,
            "bytes": plan.bytes,
            "seconds": round(plan.seconds, 1),
            "rebuilt": list(plan.survey.outdated),
        }
        for plan in plans
    ]
