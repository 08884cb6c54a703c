"""`spindle` itself: what it says of itself, what it says of wrong arguments, and what it does when nobody reads."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from spindle.cli import main
from spindle.output import readers_may_leave, wide_console


def test_help_speaks_to_an_operator(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--help"])

    said = capsys.readouterr().out
    assert end.value.code == 0
    assert "register" not in said
    assert all(word in said for word in ("demo", "status", "doctor", "verify", "stack"))


@pytest.mark.parametrize("command", ["status", "doctor"])
def test_exit_codes_are_in_the_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([command, "--help"])

    assert "exit codes: 0" in capsys.readouterr().out


def test_a_wrong_stack_names_the_allowed_ones(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STACK", "nonsense")

    with pytest.raises(SystemExit) as end:
        main(["demo"])

    said = capsys.readouterr().err
    assert end.value.code == 2
    assert "auto, compose, native" in said and "$STACK" in said and "Wish" not in said


@pytest.mark.parametrize(
    "arguments",
    [
        ["--stack", "nonsense"],
        ["--synthetic", "none"],
        ["--dumps", "no-such-folder"],
        ["--report", "build/demo.json", "--x"],
    ],
    ids=["a wrong stack", "a wrong number", "a folder that is not there", "an unknown option"],
)
def test_a_demo_that_can_not_begin_leaves_no_earlier_report(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    report = tmp_path / "build/demo.json"
    report.parent.mkdir()
    report.write_text("of an earlier run")

    try:
        code = main(["demo", *arguments])
    except SystemExit as end:
        code = int(end.code or 0)

    assert code == 2
    assert not report.exists()


def test_help_leaves_the_report_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    report = tmp_path / "report.json"
    report.write_text("of an earlier run")

    with pytest.raises(SystemExit):
        main(["demo", "--report", str(report), "--help"])

    assert report.exists()


WRITER = """
import sys
from spindle.output import readers_may_leave, wide_console
with readers_may_leave():
    for line in range(100_000):
        {print}
sys.exit(7)
"""


@pytest.mark.parametrize("way", ["print('a line')", "wide_console().print('a line')"], ids=["print", "a console"])
def test_when_nobody_reads_any_more_the_exit_code_is_still_the_commands_own(way: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER.replace("{print}", way)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    )
    assert process.stdout is not None and process.stderr is not None

    process.stdout.readline()
    process.stdout.close()

    assert process.wait(60) == 7
    assert process.stderr.read() == b""
    process.stderr.close()


def test_output_that_is_read_is_whole(capsys: pytest.CaptureFixture[str]) -> None:
    with readers_may_leave():
        wide_console().print("a line")

    assert capsys.readouterr().out == "a line\n"


def test_erasing_what_does_not_run_says_that_it_was_removed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = tmp_path / "stack"
    home.mkdir()

    first = main(["stack", "down", "--erase", "--home", str(home)])
    said = capsys.readouterr().err
    second = main(["stack", "down", "--erase", "--home", str(home)])

    assert (first, second) == (0, 0)
    assert f"removed {home}" in said and not home.exists()
    assert f"there is no data in {home}" in capsys.readouterr().err
