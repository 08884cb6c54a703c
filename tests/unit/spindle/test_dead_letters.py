"""Which letters a command means, what a letter says, and how the command refuses."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from common.delivery import Properties
from common.errors import StartRefused
from common.kinds import Service
from common.rabbitmq.ops.queue_reader import StoredLetter
from spindle.cli import main
from spindle.dead_letters.choosing import Choice, duration
from spindle.dead_letters.exporting import exporting_to
from spindle.dead_letters.letter import REASONS, Letter, read
from spindle.dead_letters.showing import body_text, letter_line
from spindle.dead_letters.summary import Summary

NOW = datetime(2026, 3, 3, tzinfo=UTC)


def letter(body: bytes = b'{"id":"5"}', **headers: Any) -> Letter:
    ours = {f"x-spindle-{key.replace('_', '-')}": value for key, value in headers.items()}
    return read(StoredLetter(body, Properties(headers=ours)), Service.GRAPHINATOR, "labels")


def aged(hours: float) -> Letter:
    return letter(reason="refused", time=(NOW - timedelta(hours=hours)).isoformat())


@pytest.mark.parametrize(
    ("choice", "taken"),
    [
        (Choice(), True),
        (Choice(reasons=("refused", "not_json")), True),
        (Choice(reasons=("not_json",)), False),
        (Choice(error_classes=("DataError",), codes=("22021",)), True),
        (Choice(error_classes=("DataError",), codes=("22000",)), False),
        (Choice(ids=("5",)), True),
        (Choice(ids=("50",)), False),
        (Choice(replayed=True), False),
        (Choice(replayed=False), True),
    ],
)
def test_a_letter_is_taken_where_every_filter_holds(choice: Choice, taken: bool) -> None:
    one = letter(reason="refused", error_class="DataError", code="22021", id="5", replays=0)

    assert choice.takes(one, NOW) is taken


def test_an_age_is_counted_from_when_the_letter_was_set_aside() -> None:
    old, young, timeless = aged(30), aged(1), letter(reason="refused")

    older, newer = Choice(older_than=duration("1d")), Choice(newer_than=duration("90m"))

    assert [older.takes(each, NOW) for each in (old, young, timeless)] == [True, False, False]
    assert [newer.takes(each, NOW) for each in (old, young, timeless)] == [False, True, False]


def test_a_message_that_is_no_letter_at_all_is_of_an_unknown_reason() -> None:
    one = read(StoredLetter(b"\xff", Properties()), Service.GRAPHINATOR, "labels")

    assert (one.reason, one.id, one.time, one.replays) == ("unknown", "", None, 0)


def test_groups_count_letters_and_those_that_failed_again() -> None:
    summary = Summary()

    for one in (
        letter(reason="refused", id="1"),
        letter(reason="refused", id="2", replays=1),
        letter(reason="not_json"),
    ):
        summary.add(one)

    assert [(group.sample.reason, group.count, group.replayed) for group in summary.groups] == [
        ("refused", 2, 1),
        ("not_json", 1, 0),
    ]


def test_a_body_is_shown_whatever_it_is() -> None:
    assert body_text(letter(b'{"a":"\\ud800"}')) == '{\n  "a": "\\ud800"\n}'
    assert body_text(letter(b"\xffx")) == "\\xffx"


def test_nothing_in_a_letter_steers_the_terminal() -> None:
    assert body_text(letter(b"a\x1b[2J\tb\nc")) == "a\\x1b[2J\tb\nc"
    assert body_text(letter('{"a":"\x9b\u007f"}'.encode())) == '{\n  "a": "\\x9b\\x7f"\n}'

    line = letter_line(letter(reason="refused", id="\x1b[31m7", text="\x1bc"))

    assert "\\x1b[31m7" in line and line.endswith("\\x1bc")


def test_an_export_that_fails_leaves_no_file(tmp_path: Path) -> None:
    path = tmp_path / "letters.jsonl"

    with pytest.raises(ZeroDivisionError), exporting_to(path) as export:
        export.add(letter())
        _ = 1 / 0

    assert list(tmp_path.iterdir()) == []


def test_an_export_does_not_overwrite(tmp_path: Path) -> None:
    path = tmp_path / "letters.jsonl"
    path.write_text("mine")

    with pytest.raises(StartRefused, match="exists"), exporting_to(path):
        pass

    assert path.read_text() == "mine"


@pytest.mark.parametrize("action", ["replay", "drop"])
def test_nothing_is_changed_unless_one_says_which_letters(action: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dead-letters", action]) == 2

    assert "--all" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "3", "1y", "h"])
def test_an_age_that_is_none_is_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["dead-letters", "list", "--older-than", text])

    assert "allowed are 90s" in capsys.readouterr().err


@pytest.mark.parametrize("action", ["list", "show", "replay", "drop", "export"])
def test_a_reason_that_no_letter_can_have_is_refused(action: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["dead-letters", action, "--reason", "refusd"])

    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert "'refusd'" in said and "refused" in said and "broker_delivery_limit" in said


@pytest.mark.parametrize("headers", [{}, {"x-death": [{"reason": "maxlen"}]}])
def test_a_letter_that_is_not_ours_has_a_reason_that_can_be_chosen(headers: dict[str, Any]) -> None:
    stored = StoredLetter(b"{}", Properties(headers=headers))

    assert read(stored, Service.GRAPHINATOR, "labels").reason in REASONS
