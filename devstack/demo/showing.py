"""A demo for a person: how far it is, and what came of it."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from common.kinds import Service
from common.outcomes import Outcome
from devstack.demo.next_month import NextMonth
from devstack.demo.progress import Progress
from devstack.demo.result import DemoResult, KindResult
from devstack.demo.running import Display
from spindle.verification.showing import edges_table, number, problem_lines, yes_or_no

_LINE_INTERVAL = 5.0
"""Seconds between two lines if there is no terminal."""


@contextmanager
def shown_progress(console: Console) -> Iterator[Display]:
    """A table that moves on a terminal, a line now and then elsewhere."""
    if not console.is_terminal:
        yield _Lines(console)
        return
    with Live(console=console, refresh_per_second=4) as live:
        yield _Moving(live)


class _Moving:
    def __init__(self, live: Live) -> None:
        self._live = live

    def show(self, progress: Progress) -> None:
        self._live.update(progress_table(progress))


class _Lines:
    def __init__(self, console: Console) -> None:
        self._console = console
        self._said = time.monotonic()

    def show(self, progress: Progress) -> None:
        now = time.monotonic()
        if now - self._said < _LINE_INTERVAL and not progress.is_done:
            return
        self._said = now
        parts = [f"{sum(map(progress.seen, progress.kinds)):,} published"]
        for service in Service:
            settled = sum(progress.movement.settled(service, kind) for kind in progress.kinds)
            parts.append(f"{service} {settled:,} settled")
        self._console.print(f"{progress.elapsed:6.0f} s: {', '.join(parts)}", highlight=False, soft_wrap=True)


def progress_table(progress: Progress) -> Table:
    """A row per kind."""
    table = Table("kind", box=None, pad_edge=False)
    table.add_column("published", justify="right")
    for service in Service:
        table.add_column(f"{service}: settled", justify="right")
        table.add_column("records/s", justify="right")
    for kind in progress.kinds:
        cells = [
            cell
            for service in Service
            for cell in (f"{progress.movement.settled(service, kind):,}", f"{progress.rate(service, kind):,.0f}")
        ]
        table.add_row(kind, f"{progress.seen(kind):,}", *cells)
    return table


def result_table(parts: Sequence[KindResult]) -> Table:
    """A row per kind and store."""
    table = Table("kind", "store", box=None, pad_edge=False, padding=(0, 1))
    for heading in ("published", *(outcome.value.replace("_", "-") for outcome in Outcome), "records/s"):
        table.add_column(heading, justify="right", overflow="fold")
    table.add_column("verified", overflow="fold")
    for part in parts:
        counts = (part.published, *(part.outcomes[outcome] for outcome in Outcome), round(part.rate))
        table.add_row(part.kind, part.store, *map(number, counts), yes_or_no(part.verified))
    return table


def print_result(result: DemoResult, console: Console) -> None:
    """Everything that was measured and proved."""
    console.print(f"\n[bold]{escape(result.load)}[/], {result.stack}, {result.seconds:.0f} s", highlight=False)
    console.print(result_table(result.kinds))
    if result.skipped:
        skipped = ", ".join(f"{count:,} {reason}" for reason, count in result.skipped.items())
        console.print(f"passed over by the extractor: {skipped}", highlight=False)
    for line in remarks(result):
        console.print(line, style="yellow", markup=False, highlight=False)
    if result.verification:
        console.print()
        console.print(edges_table(result.verification))
        for line in problem_lines(result.verification):
            console.print(line, style="red", markup=False, highlight=False)
    console.print(f"\n{_verdict(result)}", highlight=False)
    if result.next_month:
        print_next_month(result.next_month, console)
    elif result.next_month_failure:
        console.print(f"\nthe next month: {result.next_month_failure}", style="red", markup=False, highlight=False)


def print_next_month(month: NextMonth, console: Console) -> None:
    """What a month later was published and removed, and whether both stores hold it."""
    console.print(f"\n[bold]{escape(month.name)}[/], by spindle load", highlight=False)
    table = Table("kind", "store", box=None, pad_edge=False, padding=(0, 1))
    names = ("unchanged", "new", "changed", "published", "removed")
    for heading in names:
        table.add_column(heading, justify="right")
    table.add_column("verified")
    for part in month.parts():
        table.add_row(part["kind"], part["store"], *(number(part[name]) for name in names), yes_or_no(part["verified"]))
    console.print(table)
    what = "removed" if month.summary["complete"] else "published"
    for sentence in month.summary["refused"]:
        console.print(f"nothing was {what}: {sentence}", style="red", markup=False, highlight=False)
    for queue, count in month.summary["stuck"].items():
        console.print(
            f"{count:,} records wait in {queue}, and none left it", style="red", markup=False, highlight=False
        )
    for line in problem_lines(month.verification):
        console.print(line, style="red", markup=False, highlight=False)
    held = "[green]verified: both stores hold that month[/]" if month.verified else "[bold red]NOT verified[/]"
    console.print(f"\n{held}", highlight=False)
    if month.report:
        text = f"how that load went, and what limited it: {month.report}"
        console.print(text, markup=False, highlight=False, soft_wrap=True)


def remarks(result: DemoResult) -> Iterator[str]:
    """What the numbers alone do not say."""
    for part in result.kinds:
        where = f"{part.store}, {part.kind}"
        if part.settled != part.published:
            restarted = "; its service was restarted, and some counts died with the process" if part.restarted else ""
            yield f"{where}: {part.settled:,} outcomes of {part.published:,} published{restarted}"
        if part.recomputed not in (None, part.published):
            yield f"{where}: the load has {part.recomputed:,} records, and {part.published:,} were published"
    for store in dict.fromkeys(part.store for part in result.kinds):
        findings = [part.findings for part in result.kinds if part.store == store and part.findings]
        if others := sum(found.others for found in findings):
            yield f"{store} holds {others:,} records of other loads too"
        if newer := sum(found.newer for found in findings):
            yield f"{store} holds {newer:,} of these records in a newer version, which was not compared"


def print_places(places: Sequence[tuple[str, str]], console: Console) -> None:
    """What there is to look at."""
    table = Table.grid(padding=(0, 2))
    for name, place in places:
        table.add_row(name, escape(place))
    console.print()
    console.print(table, highlight=False, soft_wrap=True)


def _verdict(result: DemoResult) -> str:
    if not result.is_first_verified:
        return "[bold red]NOT verified[/]"
    newer = any(part.findings and part.findings.newer for part in result.kinds)
    how = "exactly its content, or a newer version of it" if newer else "exactly its content"
    return f"[green]verified: both stores hold every record with {how}[/]"
