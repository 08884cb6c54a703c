"""What errors loads met, as both stores' ledgers have it."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

from rich.table import Table

from common.kinds import Service
from common.loads import LoadErrors
from common.pipeline.bookkeeper import INTERVAL
from spindle.ledger.stores import Book

_ABOUT = (
    f"Errors up to the last {INTERVAL:.0f} s: transactions that a store did not take, probes included, and dead letters"
)


def troubles(books: Iterable[Book]) -> dict[str, str]:
    """Of each service whose errors are not known: why."""
    return {book.service: book.trouble or book.trouble_of_errors for book in books if book.errors is None}


def failed_transactions(book: Book, load: str, kind: str) -> int | None:
    """How many transactions of a load and kind one store did not take; None if that is not known."""
    if book.errors is None:
        return None
    return sum(met.errors for met in _of(book, load, kind) if not met.reason)


def errors_as_data(book: Book, load: str, kind: str) -> list[dict[str, Any]] | None:
    """What a load and kind met in one store, for a program; times are ISO 8601. None if that is not known."""
    if book.errors is None:
        return None
    names = [each.name for each in fields(LoadErrors) if each.name not in ("load", "kind")]
    return [{name: _plain(getattr(met, name)) for name in names} for met in _of(book, load, kind)]


def errors_table(books: Sequence[Book], load: str) -> Table | None:
    """A row per kind, store and result of one load; None if none is known."""
    rows = sorted(_of_load(books, load), key=lambda row: (row[1].kind, row[0], row[1].result))
    if not rows:
        return None
    table = Table(box=None, pad_edge=False, title=_ABOUT, title_justify="left", title_style="")
    for heading in ("kind", "store", "error"):
        table.add_column(heading, no_wrap=True)
    table.add_column("count", justify="right", no_wrap=True)
    table.add_column("the last one", overflow="fold")  # as long as Neo4j's codes are: what is short is never cut for it
    table.add_column("at (UTC)", no_wrap=True)
    for service, met in rows:
        when = f"{met.last_at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
        result = f"dead letter: {met.reason}" if met.reason else met.result
        table.add_row(met.kind, service, result.replace("_", " "), f"{met.errors:,}", met.last_error, when)
    return table


def _of_load(books: Iterable[Book], load: str) -> Iterator[tuple[Service, LoadErrors]]:
    for book in books:
        yield from ((book.service, met) for met in book.errors or () if met.load == load)


def _of(book: Book, load: str, kind: str) -> list[LoadErrors]:
    return [met for met in book.errors or () if (met.load, met.kind) == (load, kind)]


def _plain(value: object) -> object:
    return value.isoformat() if isinstance(value, datetime) else value
