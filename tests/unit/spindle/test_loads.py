"""`spindle loads`: what both ledgers say, as a table and for a program."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import StringIO

from rich.console import Console

from common.kinds import Service
from common.loads import Load, State, Totals
from spindle.ledger.loads import _WIDTH, as_data, as_table
from spindle.ledger.stores import Book

NOW = datetime(2026, 3, 2, tzinfo=UTC)
CHECKED = Load(
    load="20260301",
    kind="artists",
    state=State.INCOMPLETE,
    checked_at=NOW - timedelta(hours=3),
    published=20_000,
    missing=2,
    different=1,
    gone=0,
    reason="3 are [missing]",
    totals=Totals(new=311, changed=987, unchanged=18_702),
)
BOOKS = (
    Book(Service.TABLEINATOR, [CHECKED, Load(load="20260201", kind="artists", state=State.ANNOUNCED)]),
    Book(Service.GRAPHINATOR, [Load(load="", kind="artists", state=State.RUNNING)], trouble="away"),
)


def shown(only: str | None = None) -> list[list[str]]:
    screen = StringIO()
    Console(width=200, file=screen).print(as_table(BOOKS, only=only, now=NOW))
    return [line.split() for line in screen.getvalue().splitlines()]


def test_the_newest_load_comes_first_with_what_its_check_found_and_what_records_came_to() -> None:
    _, first, second, third = shown()

    assert " ".join(first) == (
        "20260301 artists tableinator incomplete (3 are [missing]) 3 h ago 20,000 3 0 - 311 987 18,702 0 0 0"
    )
    assert second[:5] == ["20260201", "artists", "tableinator", "announced", "never"]
    assert " ".join(third[:4]) == "(none named) artists graphinator"


def test_nothing_is_cut_where_there_is_no_terminal_whatever_the_numbers() -> None:
    most = 19_400_000
    totals = Totals(new=most, changed=most, unchanged=most, stale=most, superseded=most, dead_lettered=most)
    whole = replace(CHECKED, kind="releases", missing=most, gone=most, reason=None, totals=totals)
    screen = StringIO()

    Console(width=_WIDTH, file=screen).print(as_table([Book(Service.GRAPHINATOR, [whole])], now=NOW))

    assert "…" not in screen.getvalue()
    assert screen.getvalue().count("19,400,00") == 8


def test_one_load_can_be_asked_for() -> None:
    assert [line[0] for line in shown("20260201")[1:]] == ["20260201"]


def test_a_program_gets_all_of_it_and_the_trouble() -> None:
    data = json.loads(json.dumps(as_data(BOOKS)))

    assert [load["load"] for load in data["loads"]] == ["20260301", "20260201", ""]
    assert (data["loads"][0]["checked_at"], data["loads"][0]["totals_new"]) == ("2026-03-01T21:00:00+00:00", 311)
    assert data["troubles"] == {"graphinator": "away"}
