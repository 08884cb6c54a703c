import signal
import subprocess
import sys

import pytest

COMMAND = """
import signal
import sys

import pytest
from tests.commands import end_with

def main():
    print("begun", flush=True)
    sys.stdin.read()  # until the test is over
    return 0

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job inherits that it is ignored
end_with(main)
"""


def test_a_command_that_is_told_to_stop_says_so_in_one_line() -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        with subprocess.Popen(
            [sys.executable, "-c", COMMAND],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            assert process.stdout.readline() == "begun\n"

            process.send_signal(number)

            assert process.wait(30) == 130
            assert process.stderr.read() == "interrupted\n"


ASYNCHRONOUS = """
import asyncio
import time
from tests.commands import end_with

async def work():
    try:
        print("begun", flush=True)
        while True:
            time.sleep(0.001)  # so that the signal comes while it is at work
            await asyncio.sleep(0)
    finally:
        await asyncio.sleep(0.05)
        print("ended", flush=True)

async def run():
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(work())
            group.create_task(work())
    finally:
        await asyncio.sleep(0.05)
        print("all ended", flush=True)

end_with(lambda: asyncio.run(run()))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_it_does_at_the_same_time_ends_in_order(number: signal.Signals) -> None:
    """What is left undone here are servers that run on."""
    with subprocess.Popen(
        [sys.executable, "-c", ASYNCHRONOUS], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert [process.stdout.readline() for _ in range(2)] == ["begun\n"] * 2

        process.send_signal(number)

        said, complained = process.communicate(timeout=30)
        assert (process.returncode, said, complained) == (130, "ended\nended\nall ended\n", "interrupted\n")
