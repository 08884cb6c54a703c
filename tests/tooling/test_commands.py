import signal
import subprocess
import sys

COMMAND = """
import signal
import sys
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
