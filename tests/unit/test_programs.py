"""What each program answers to whoever has only its name."""

import subprocess
import sys

import pytest

from common import VERSION

PROGRAMS = ["graphinator", "tableinator", "extractor", "spindle"]


def run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", program, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_tells_its_version_and_how_it_is_used_without_any_setting(program: str) -> None:
    version, usage, wrong = run(program, "--version"), run(program, "--help"), run(program, "--wrong")

    assert (version.returncode, version.stdout) == (0, f"{program} {VERSION}\n")
    assert usage.returncode == 0
    assert usage.stdout.startswith(f"usage: {program} ")
    assert wrong.returncode == 2
    assert wrong.stderr.startswith(f"usage: {program} ")
