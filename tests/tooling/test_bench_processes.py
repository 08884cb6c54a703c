"""What processes have used, and what of it belongs to a run."""

import os
import socket
import subprocess
import sys

import pytest

from bench.clock import Stopwatch
from bench.processes import MachineTimes, cpu_seconds, listener, machine_times, peak_memory
from bench.profiling import shares

BURN = "import time\nwhile time.process_time() < 0.2: pass\n"


def test_the_cpu_time_of_children_counts_while_they_run_and_after() -> None:
    code = (
        f"import subprocess, sys; subprocess.run([sys.executable, '-c', {BURN!r}]); print('done', flush=True); input()"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert parent.stdout is not None
        parent.stdout.readline()

        assert cpu_seconds(parent.pid) >= 0.2
    finally:
        parent.communicate(b"\n", timeout=30)


def test_a_process_that_is_gone_has_used_nothing() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait(timeout=30)

    assert (cpu_seconds(ended.pid), peak_memory(ended.pid)) == (0.0, 0.0)


def test_memory_and_machine_are_read() -> None:
    before, after = machine_times(), machine_times()

    assert 5 < peak_memory(os.getpid()) < 100_000
    assert after.total >= before.total >= before.idle + before.stolen


def test_a_listener_is_found_by_its_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert listener(server.getsockname()[1]) == os.getpid()


def test_a_watch_counts_what_was_used_between_its_start_and_its_stop() -> None:
    command = [sys.executable, "-c", f"{BURN}print(flush=True); input()"]
    burner = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert burner.stdout is not None
        burner.stdout.readline()
        watch = Stopwatch({"server": burner.pid}, lambda: {"consumer": burner.pid})

        watch.start()
        watch.stop()

        measured = watch.measured()
        assert measured.cpu == {"server": 0.0, "consumer": 0.0}
        assert measured.memory["consumer"] > 5
    finally:
        burner.communicate(b"\n", timeout=30)


def test_what_a_command_of_the_arm_used_is_not_others(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([MachineTimes(0.0, 0.0, 0.0), MachineTimes(2.0, 1.0, 0.0)])
    monkeypatch.setattr("bench.clock.machine_times", lambda: next(times))
    watch = Stopwatch({}, dict)

    watch.start()
    subprocess.run([sys.executable, "-c", "import time\nwhile time.process_time() < 0.8: pass"], check=True)
    watch.stop()

    assert watch.measured().elsewhere < 0.15  # of the second that was used, 0.8 s are the command's


def test_a_watch_that_was_not_stopped_has_measured_nothing() -> None:
    with pytest.raises(RuntimeError, match="not stopped"):
        Stopwatch({}, dict).measured()


def test_a_profile_counts_who_was_at_the_top_of_the_stack() -> None:
    raw = "main (a.py:1);read (b.py:7) 3\nmain (a.py:2) 1\nmain (a.py:1);read (b.py:9) 2\n"

    assert shares(raw) == {"read (b.py": 5, "main (a.py": 1}
