"""`spindle` itself: what it says of itself, what it says of wrong arguments, and what it does when nobody reads."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from spindle.cli import COMMANDS, main
from spindle.output import readers_may_leave, wide_console


def test_help_speaks_to_an_operator(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--help"])

    said = capsys.readouterr().out
    assert end.value.code == 0
    assert "register" not in said
    assert "demo" not in said, "a tool for development, which devstack is for"
    assert all(word in said for word in ("status", "doctor", "verify", "dead-letters"))


@pytest.mark.parametrize("command", ["status", "doctor"])
def test_exit_codes_are_in_the_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([command, "--help"])

    assert "exit codes: 0" in capsys.readouterr().out


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_is_found_by_its_name(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([command, "--help"])

    assert end.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: spindle {command} ")


def test_the_help_has_every_command_that_a_name_leads_to(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])

    listed = re.findall(r"^    ([a-z-]+)(?: |$)", capsys.readouterr().out, re.MULTILINE)
    assert listed == list(COMMANDS)


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
