"""`spindle loads`: what both ledgers say, as a table and for a program."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from io import StringIO

import pytest
from rich.console import Console

from common.kinds import Service
from common.loads import Load, LoadErrors, State, Totals
from common.settings.environment import load as load_settings
from extractor.settings import ExtractorSettings
from extractor.synthetic.synthetic import SyntheticLoad
from spindle import cli
from spindle.ledger.errors import errors_table
from spindle.ledger.loads import _WIDTH, as_data, as_table
from spindle.ledger.stores import Book, Ledgers
from spindle.loading.command import Loading, show, summary

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


def met(result: str, errors: int, last_error: str, *, load: str = "20260301", kind: str = "artists") -> LoadErrors:
    return LoadErrors(
        load=load, kind=kind, result=result, errors=errors, last_error=last_error, first_at=NOW, last_at=NOW
    )


BOOKS = (
    Book(
        Service.TABLEINATOR,
        [CHECKED, Load(load="20260201", kind="artists", state=State.ANNOUNCED)],
        errors=[
            met("conflict", 1200, "DeadlockDetectedError 40P01"),
            met("dead_letter:refused", 2, "UntranslatableCharacterError 22P05"),
            met("unavailable", 34, "ConnectionRefusedError"),
        ],
    ),
    Book(Service.GRAPHINATOR, [Load(load="", kind="artists", state=State.RUNNING)], trouble="away"),
)


def shown(only: str | None = None) -> list[list[str]]:
    screen = StringIO()
    Console(width=200, file=screen).print(as_table(BOOKS, only=only, now=NOW))
    return [line.split() for line in screen.getvalue().splitlines()]


def test_the_newest_load_comes_first_with_what_its_check_found_and_what_records_came_to() -> None:
    _, first, second, third = shown()

    assert " ".join(first) == (
        "20260301 artists tableinator incomplete (3 are [missing]) 3 h ago 20,000 3 0 - 311 987 18,702 0 0 0 1,234"
    )
    assert second[:5] == ["20260201", "artists", "tableinator", "announced", "never"]
    assert " ".join(third[:4]) == "(none named) artists graphinator"
    assert (second[-1], third[-1]) == ("0", "-"), "none, and not known"


def test_nothing_is_cut_where_there_is_no_terminal_whatever_the_numbers() -> None:
    most = 19_400_000
    totals = Totals(new=most, changed=most, unchanged=most, stale=most, superseded=most, dead_lettered=most)
    whole = replace(CHECKED, kind="releases", missing=most, gone=most, reason=None, totals=totals)
    conflicts = [met("conflict", most, "DeadlockDetectedError 40P01", kind="releases")]
    screen = StringIO()

    Console(width=_WIDTH, file=screen).print(as_table([Book(Service.GRAPHINATOR, [whole], errors=conflicts)], now=NOW))

    assert "…" not in screen.getvalue()
    assert screen.getvalue().count("19,400,00") == 9


def test_one_load_can_be_asked_for() -> None:
    assert [line[0] for line in shown("20260201")[1:]] == ["20260201"]


def test_a_program_gets_all_of_it_and_the_trouble() -> None:
    data = json.loads(json.dumps(as_data(BOOKS)))

    assert [load["load"] for load in data["loads"]] == ["20260301", "20260201", ""]
    assert (data["loads"][0]["checked_at"], data["loads"][0]["totals_new"]) == ("2026-03-01T21:00:00+00:00", 311)
    assert data["troubles"] == {"graphinator": "away"}
    assert data["loads"][0]["errors"][1] == {
        "result": "dead_letter:refused",
        "errors": 2,
        "last_error": "UntranslatableCharacterError 22P05",
        "first_at": "2026-03-02T00:00:00+00:00",
        "last_at": "2026-03-02T00:00:00+00:00",
    }
    assert data["loads"][1]["errors"] == []
    assert data["loads"][2]["errors"] is None and data["troubles_of_errors"] == {"graphinator": "away"}


def test_what_went_wrong_with_a_load_is_a_row_for_each_meaning_and_store() -> None:
    screen = StringIO()
    table = errors_table(BOOKS, "20260301")
    Console(width=_WIDTH, file=screen).print(table)

    _, heads, *lines = [line.split() for line in screen.getvalue().splitlines()]
    assert " ".join(heads) == "kind store error count the last one at (UTC)"
    assert [" ".join(line) for line in lines] == [
        "artists tableinator conflict 1,200 DeadlockDetectedError 40P01 2026-03-02 00:00:00",
        "artists tableinator dead letter: refused 2 UntranslatableCharacterError 22P05 2026-03-02 00:00:00",
        "artists tableinator unavailable 34 ConnectionRefusedError 2026-03-02 00:00:00",
    ]
    assert errors_table(BOOKS, "20260201") is None


def test_what_went_wrong_is_in_the_order_of_kind_store_and_result_and_its_time_is_utc() -> None:
    there = NOW.astimezone(timezone(timedelta(hours=9)))
    late = replace(met("unavailable", 1, "OSError", kind="labels"), last_at=there)
    graph = [late, met("refused", 2, "E"), met("conflict", 3, "E")]
    books = [Book(Service.TABLEINATOR, errors=[late, met("conflict", 4, "E")]), Book(Service.GRAPHINATOR, errors=graph)]
    screen = StringIO()

    Console(width=_WIDTH, file=screen).print(errors_table(books, "20260301"))

    lines = [line.split() for line in screen.getvalue().splitlines() if line.startswith(("artists", "labels"))]
    assert [line[:4] for line in lines] == [
        ["artists", "graphinator", "conflict", "3"],
        ["artists", "graphinator", "refused", "2"],
        ["artists", "tableinator", "conflict", "4"],
        ["labels", "graphinator", "unavailable", "1"],
        ["labels", "tableinator", "unavailable", "1"],
    ]
    assert {" ".join(line[-2:]) for line in lines} == {"2026-03-02 00:00:00"}


@pytest.mark.parametrize("width", [100, 140])
def test_nothing_of_an_error_is_cut_on_a_narrow_screen(width: int) -> None:
    screen = StringIO()
    errors = [
        met("conflict", 1_234_567, "TransientError Neo.TransientError.Transaction.DeadlockDetected", kind="releases"),
        met("dead_letter:projection_failed", 12, "ClientError Neo.ClientError.Schema.ConstraintValidationFailed"),
    ]

    Console(width=width, file=screen).print(errors_table([Book(Service.GRAPHINATOR, errors=errors)], "20260301"))

    text = screen.getvalue()
    assert "…" not in text
    assert "releases graphinator conflict 1,234,567" in " ".join(text.split())
    assert "graphinator dead letter: projection failed 12" in " ".join(text.split())
    assert text.count("2026-03-02 00:00:00") == 2
    column = slice(text.splitlines()[1].index("the last one"), text.splitlines()[1].index("at (UTC)"))
    codes = "".join("".join(line[column] for line in text.splitlines()[2:]).split())
    assert codes == "".join("".join(error.last_error for error in reversed(errors)).split())


def test_a_load_of_which_only_errors_are_known_is_shown() -> None:
    refused = met("unavailable", 3, "InsufficientPrivilegeError 42501", load="20260501")

    data = as_data([Book(Service.TABLEINATOR, [CHECKED], errors=[refused])])

    assert [(load["load"], load["state"]) for load in data["loads"]] == [
        ("20260501", "running"),
        ("20260301", "incomplete"),
    ]
    assert data["loads"][0]["errors"][0]["errors"] == 3


def test_a_load_that_met_errors_says_so_at_its_end() -> None:
    screen = StringIO()
    loading = Loading({}, load_settings(ExtractorSettings, {}), SyntheticLoad(1, seed=1), (), lambda *_: None)
    errors = [met("conflict", 3, "DeadlockDetectedError 40P01", load=loading.load.date)]
    loading.books = [Book(Service.TABLEINATOR, errors=errors)]

    show(loading, (), (), Console(width=_WIDTH, file=screen), plan=False)

    assert "conflict" in screen.getvalue() and "DeadlockDetectedError 40P01" in screen.getvalue()
    assert "up to the last 3 s: transactions that a store did not take, probes included" in screen.getvalue()
    [told] = summary(loading, (), ())["errors"]
    assert (told["service"], told["kind"], told["errors"]) == ("tableinator", "artists", 3)


@pytest.mark.parametrize(
    "away",
    [Book(Service.GRAPHINATOR, trouble="[away]"), Book(Service.GRAPHINATOR, trouble_of_errors="[away]")],
    ids=["nothing", "no errors"],
)
def test_a_load_whose_errors_can_not_be_read_says_so_at_its_end(away: Book) -> None:
    screen = StringIO()
    loading = Loading({}, load_settings(ExtractorSettings, {}), SyntheticLoad(1, seed=1), (), lambda *_: None)
    loading.books = [Book(Service.TABLEINATOR, errors=()), away]

    show(loading, (), (), Console(width=_WIDTH, file=screen), plan=False)

    assert "graphinator's errors can't be read: [away]" in screen.getvalue()
    assert "tableinator" not in screen.getvalue()
    told = summary(loading, (), ())
    assert (told["errors"], told["troubles_of_errors"]) == ([], {"graphinator": "[away]"})


def test_errors_that_alone_can_not_be_read_are_said_and_change_no_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def read(_: object) -> list[Book]:
        return [replace(BOOKS[0], errors=None, trouble_of_errors="denied")]

    monkeypatch.setattr(Ledgers, "read", read)

    assert cli.main(["loads"]) == 0

    shown, said = capsys.readouterr()
    assert [line.split()[-1] for line in shown.splitlines()] == ["errors", "-", "-"]
    assert said == "spindle: tableinator's errors can't be read: denied\n"
