"""What a person sees of a command at work, on a terminal of 100 columns."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios

_DRAW = """
import structlog
from common.telemetry import logs
from spindle.progress import following
logs.configure("spindle load")
log = structlog.get_logger()
with following() as on_done:
    on_done("artists neo4j: ids", 10, 20)
    log.info("Kind done", data_type="labels")
    on_done("artists neo4j: scan", 5, 40)
    on_done("labels: publishing", 1, 2)
    log.info("Done")
"""


def shown(program: str) -> str:
    """What a program writes to a terminal, with its control sequences."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color"}
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=theirs, stdout=theirs, stderr=theirs, env=environment
    )
    os.close(theirs)
    said = b""
    try:
        while read := os.read(ours, 65536):
            said += read
    except OSError:  # how Linux says that nobody has it open any more
        pass
    finally:
        os.close(ours)
    assert process.wait(30) == 0, said
    return said.decode()


def test_log_lines_do_not_tear_the_bars_apart_and_a_subject_has_one_row() -> None:
    said = shown(_DRAW)

    # Before it draws anew, rich goes up and erases row by row: what is written onto a row that was not erased tears it.
    written = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", piece) for piece in re.split(r"\n|\x1b\[2K", said)]
    torn = [line for line in written if "━" in line and ("Kind done" in line or re.search(r"\d{4}-\d\d-\d\dT", line))]
    assert not torn
    last = said[said.rindex("Done") :]
    assert "artists neo4j: scan" in last
    assert "labels: publishing" in last
    assert "artists neo4j: ids" not in last
