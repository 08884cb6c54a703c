import signal
import subprocess
import sys

COMMAND = """
import signal
import time
from tests.commands import end_with

def main():
    print("begun", flush=True)
    time.sleep(60)
    return 0

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job inherits that it is ignored
end_with(main)
"""


def test_a_command_that_is_told_to_stop_says_so_in_one_line() -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        with subprocess.Popen(
            [sys.executable, "-c", COMMAND], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "begun\n"

            process.send_signal(number)

            assert process.communicate(timeout=30) == ("", "interrupted\n")
            assert process.returncode == 130
