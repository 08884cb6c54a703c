"""`spindle loads`: which loads the stores know, how far each is, and what its records came to."""

import argparse
import asyncio
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

from rich.markup import escape
from rich.table import Table

from common.loads import Load, State, Totals
from spindle.environments import add_stack_argument, environment_of
from spindle.ledger.errors import errors_as_data, errors_table, failed_transactions, troubles
from spindle.ledger.stores import Book, ledgers_of
from spindle.output import readers_may_leave, wide_console

_ABOUT = """\
Which loads the stores know, the newest first: of each kind whether it was announced (all published), what a check has
found, and what its records came to. New and changed are counted in the transactions that write, and exact; the others
at least once. Errors are transactions that a store did not take, probes included, as each process saw them: of one
load (LOAD) it also says how they ended, with the dead letters by reason. None of it is evidence that a load is
complete, except the word of a check.

exit codes: 0 what is known of the loads is shown (errors that can't be read are a `-`); 2 a store can't be asked
"""
_COLOURS = {State.COMPLETE: "green", State.INCOMPLETE: "red", State.FAILED: "red", State.ANNOUNCED: "yellow"}
_WIDTH = 190  # columns: no load's date is cut, whatever the numbers
_NUMBERS = ("new", "changed", "unchanged", "stale", "superseded", "dead_lettered")


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add this command to the operator's."""
    parser = commands.add_parser(
        "loads",
        help="which loads the stores know, how far each is, and what its records came to",
        description=_ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("load", nargs="?", metavar="LOAD", help="only this one, such as 20260301")
    add_stack_argument(parser)
    parser.add_argument("--json", action="store_true", help="for a program")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Ask and show; return the exit code."""
    ledgers = ledgers_of(environment_of(arguments))
    books = asyncio.run(ledgers.read())
    with readers_may_leave():
        if arguments.json:
            print(json.dumps(as_data(books, only=arguments.load), indent=2))
        else:
            console = wide_console(_WIDTH)
            console.print(as_table(books, only=arguments.load), highlight=False)
            met = None if arguments.load is None else errors_table(books, arguments.load)
            if met is not None:
                console.print("", met, highlight=False)
    for book in books:
        if book.trouble:
            print(f"spindle: {book.service}'s store can't be asked: {book.trouble}", file=sys.stderr)
        elif book.trouble_of_errors:
            print(f"spindle: {book.service}'s errors can't be read: {book.trouble_of_errors}", file=sys.stderr)
    return 2 if any(book.trouble for book in books) else 0


def as_table(books: Sequence[Book], *, only: str | None = None, now: datetime | None = None) -> Table:
    """A row per load, kind and store."""
    table = Table(box=None, pad_edge=False)
    for heading in ("load", "kind", "store"):
        table.add_column(heading, no_wrap=True)
    table.add_column("state", min_width=len(State.INCOMPLETE))
    for heading in ("checked", "listed", "missing", "gone", "removed", *_NUMBERS, "errors"):
        table.add_column(heading.replace("_", " "), justify="right", no_wrap=True)
    for book, load in _rows(books, only):
        state = f"[{_COLOURS.get(load.state, 'default')}]{load.state}[/]"
        missing = None if load.missing is None else load.missing + (load.different or 0)
        table.add_row(
            load.load or "(none named)",
            load.kind,
            book.service,
            state + (f" ({escape(load.reason)})" if load.reason else ""),
            _ago(load.checked_at, now or datetime.now(UTC)),
            *map(_count, (load.published, missing, load.gone, load.removed)),
            *(_count(getattr(load.totals, name)) for name in _NUMBERS),
            _count(failed_transactions(book, load.load, load.kind)),
        )
    return table


def as_data(books: Sequence[Book], *, only: str | None = None) -> dict[str, Any]:
    """The same for a program; times are ISO 8601, and what is not known is null."""
    return {
        "loads": [
            {"service": book.service, **_load_as_data(load), "errors": errors_as_data(book, load.load, load.kind)}
            for book, load in _rows(books, only)
        ],
        "troubles": {book.service: book.trouble for book in books if book.trouble},
        "troubles_of_errors": troubles(books),
    }


def _rows(books: Sequence[Book], only: str | None) -> Iterator[tuple[Book, Load]]:
    found = [(book, load) for book in books for load in _known(book) if only in (None, load.load)]
    by_kind = sorted(found, key=lambda pair: (pair[1].kind, pair[0].service))
    yield from sorted(by_kind, key=lambda pair: pair[1].load, reverse=True)


def _known(book: Book) -> Iterator[Load]:
    """All loads of a store's book; of some it may know errors only, because nothing else has come of them yet."""
    yield from book.loads
    known = {(load.load, load.kind) for load in book.loads}
    for load, kind in {(met.load, met.kind) for met in book.errors or ()} - known:
        yield Load(load=load, kind=kind, state=State.RUNNING)


def _load_as_data(load: Load) -> dict[str, Any]:
    values = {each.name: getattr(load, each.name) for each in fields(Load) if each.name != "totals"}
    values |= {f"totals_{each.name}": getattr(load.totals, each.name) for each in fields(Totals)}
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in values.items()}


def _count(number: int | None) -> str:
    return "-" if number is None else f"{number:,}"


def _ago(moment: datetime | None, now: datetime) -> str:
    if moment is None:
        return "never"
    minutes = max(0, round((now - moment).total_seconds() / 60))
    if minutes < 120:
        return f"{minutes} min ago"
    return f"{minutes // 60} h ago" if minutes < 48 * 60 else f"{minutes // 1440} days ago"
