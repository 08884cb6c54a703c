"""How long a process was ready to compute while no core was free for it."""

import subprocess
import sys
from pathlib import Path

import pytest

from extractor import run_delay as module
from extractor.run_delay import run_delay

COMPUTING = """\
import os, time
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from extractor.run_delay import run_delay
print(flush=True)
input()
before = run_delay()
while time.process_time() < 1.0:
    pass
print(run_delay() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="this system does not count it")
def test_two_processes_that_compute_on_one_core_wait_for_each_other() -> None:
    command = [sys.executable, "-c", COMPUTING]
    pair = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for each in pair:
        assert each.stdout is not None
        each.stdout.readline()
    for each in pair:
        assert each.stdin is not None
        each.stdin.write("\n")
        each.stdin.flush()

    waited = [float(each.communicate(timeout=60)[0]) for each in pair]

    assert min(waited) > 0.2  # of the second or less that each computes


def test_where_the_system_does_not_tell_it_is_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: int) -> int:
        raise FileNotFoundError

    monkeypatch.setattr(module, "_opened", refuse)

    assert run_delay() == 0.0
