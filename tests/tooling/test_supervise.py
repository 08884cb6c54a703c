"""The supervisor restarts what fails, and nothing else."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from devstack.stack.supervise import MOST_RESTARTS, Supervisor

COUNT = "import sys; open(sys.argv[1], 'a').write('x'); sys.exit(int(sys.argv[2]))"


@pytest.mark.parametrize("code", [0, 2])
def test_an_exit_code_that_a_restart_does_not_mend_is_final(tmp_path: Path, code: int) -> None:
    """Fault 65."""
    starts = tmp_path / "starts"

    ended = Supervisor([sys.executable, "-c", COUNT, str(starts), str(code)]).run()

    assert (ended, starts.read_text()) == (code, "x")


def test_a_failing_command_is_started_again_ten_times_and_then_given_up(tmp_path: Path) -> None:
    starts = tmp_path / "starts"

    ended = Supervisor([sys.executable, "-c", COUNT, str(starts), "3"], first_pause=0.0).run()

    assert (ended, len(starts.read_text())) == (3, 1 + MOST_RESTARTS)


def test_a_killed_command_is_started_again(tmp_path: Path) -> None:
    mark = tmp_path / "killed-once"
    once = f"import os, pathlib; p = pathlib.Path({str(mark)!r}); p.exists() or (p.touch(), os.kill(os.getpid(), 9))"

    ended = Supervisor([sys.executable, "-c", once], first_pause=0.0).run()

    assert ended == 0


def test_a_soft_stop_reaches_the_command_and_its_exit_code_comes_back(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    command = (
        "import pathlib, signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(7));"
        f"pathlib.Path({str(ready)!r}).touch(); time.sleep(60)"
    )
    supervise = [sys.executable, "-m", "devstack.stack.supervise", "--", sys.executable, "-c", command]
    supervisor = subprocess.Popen(supervise)
    _await(ready)

    supervisor.send_signal(signal.SIGTERM)

    assert supervisor.wait(timeout=10) == 7


def test_a_soft_stop_between_two_starts_ends_at_once() -> None:
    supervise = [sys.executable, "-u", "-m", "devstack.stack.supervise", "--", "false"]
    supervisor = subprocess.Popen(supervise, stderr=subprocess.PIPE, text=True)
    assert supervisor.stderr is not None
    while "restart 5" not in supervisor.stderr.readline():
        pass  # the pauses are long enough by now

    supervisor.send_signal(signal.SIGTERM)

    assert supervisor.wait(timeout=2) == 0
    supervisor.stderr.close()


def _await(path: Path) -> None:
    deadline = time.monotonic() + 10
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
