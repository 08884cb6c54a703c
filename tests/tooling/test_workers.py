import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import psutil
import pytest

from tests.workers import on_every_core

LONG = """
import sys
from pathlib import Path
from tests.tooling.test_workers import begin
from tests.workers import on_every_core
list(on_every_core(begin, [Path(sys.argv[1])] * 100))
"""


def test_every_piece_is_done() -> None:
    assert sorted(on_every_core(abs, [-3, 1, -2], pieces_each=1)) == [1, 2, 3]


def test_what_fails_ends_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    with pytest.raises(ZeroDivisionError):
        list(on_every_core(partial(fail_beside, tmp_path), [True, False]))

    assert [file.name for file in tmp_path.iterdir()] == ["begun"]


def test_what_is_told_to_stop_leaves_no_process(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", LONG, tmp_path], stderr=subprocess.DEVNULL)
    try:
        while not list(tmp_path.iterdir()):
            assert process.poll() is None
        children = psutil.Process(process.pid).children(recursive=True)

        process.send_signal(signal.SIGTERM)

        assert process.wait(30) != 0
        assert not psutil.wait_procs(children, 10)[1]
    finally:
        if process.poll() is None:
            for child in psutil.Process(process.pid).children(recursive=True):
                child.kill()
            process.kill()


def fail_beside(folder: Path, fails: bool) -> None:
    """Fail once the other has begun; the other takes its time."""
    if not fails:
        (folder / "begun").touch()
        time.sleep(30)
        (folder / "done").touch()
        return
    while not list(folder.iterdir()):
        time.sleep(0.01)
    raise ZeroDivisionError


def begin(folder: Path) -> None:
    (folder / str(os.getpid())).touch()
    time.sleep(60)
