"""What becomes of lines that nobody reads: the queue holds some, and the others are counted and told."""

import fcntl
import os
from collections.abc import Iterator

import pytest

from common.telemetry.log_writer import LogWriter

LINE = "x" * 99 + "\n"
TOLD = "dropped "


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe without room: whoever writes to it waits until somebody reads."""
    reading, writing = os.pipe()
    size = fcntl.fcntl(writing, fcntl.F_GETPIPE_SZ)
    os.write(writing, b" " * size)
    yield reading, writing
    os.close(reading)
    os.close(writing)


def test_the_count_has_room_in_the_queue_whose_lines_were_dropped(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    writer = LogWriter(writing, on_gap=lambda count: tell(count), room=10 * len(LINE))

    def tell(count: int) -> None:
        writer.write(f"{TOLD}{count}".ljust(2 * len(LINE) - 1) + "\n")  # longer than what the first line leaves free

    for _ in range(30):
        writer.write(LINE)

    read = ""
    while TOLD not in read or not read.endswith("\n"):
        read += os.read(reading, 2**20).decode()
    assert read.count(LINE) + int(read.rpartition(TOLD)[2]) == 30
    assert writer.dropped == 20
    writer.close()
