"""How a program ends: real processes, real signals, on the fast event loop and on the standard one."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

PREAMBLE = """
import asyncio, os, signal, sys, threading, time
from common.telemetry import logs
from common.errors import SettingsError, StartRefused
from common.service import serve, start
from tableinator.settings import TableinatorSettings

def ready():
    print("ready", flush=True)
"""

NO_UVLOOP = "import sys; sys.modules['uvloop'] = None\n"

DRAINS = """
    async def run(shutdown):
        stop = asyncio.Event()
        shutdown.on_stop(stop.set)
        ready()
        await stop.wait()
        await asyncio.sleep(0.05)  # the last batch
        print("flushed", flush=True)
"""

NEVER_DRAINS = """
    async def run(shutdown):
        shutdown.on_stop(lambda: None)
        ready()
        try:
            await asyncio.sleep(3600)
        finally:
            print("closed", flush=True)
"""


HANGS = """
    async def blocked():
        time.sleep(3600)

    async def spinning():
        while True:
            pass

    async def deaf():
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                pass

    async def waiting_for_a_thread():
        await asyncio.to_thread(time.sleep, 3600)

    async def run(shutdown):
        stop = asyncio.Event()
        shutdown.on_stop(stop.set)
        ready()
        await stop.wait()
        await hang()

"""


class Program:
    """A process that serves what a test wrote."""

    def __init__(self, source: str, environ: dict[str, str]) -> None:
        root = Path(__file__).parents[2]
        self.process = subprocess.Popen(
            [sys.executable, "-c", source],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=root,
            env={"PATH": os.environ["PATH"], **environ},
        )

    def wait_until_ready(self) -> None:
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def wait_until_logged(self, event: str) -> None:
        assert self.process.stderr is not None
        while event not in self.process.stderr.readline():
            assert self.process.poll() is None, f"it ended without {event!r}"

    def signal(self, number: signal.Signals = signal.SIGTERM) -> None:
        self.process.send_signal(number)

    def end(self) -> tuple[int, str, str]:
        """Exit code, what it printed after `ready`, and its log."""
        printed, logged = self.process.communicate(timeout=30)
        return self.process.returncode, printed, logged


Start = Callable[..., Program]


@pytest.fixture(params=["uvloop", "asyncio"])
def start(request: pytest.FixtureRequest) -> Iterator[Start]:
    with ExitStack() as programs:

        def start(run: str, *, drain_limit: float = 5.0, environ: dict[str, str] | None = None) -> Program:
            hidden = NO_UVLOOP if request.param == "asyncio" else ""
            ending = f"logs.configure('test')\nsys.exit(serve(run, drain_limit={drain_limit}))\n"
            program = Program(hidden + PREAMBLE + textwrap.dedent(run) + ending, environ or {})
            programs.callback(program.process.communicate)
            programs.callback(program.process.kill)
            return program

        yield start


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_and_the_exit_code_is_0(start: Start, number: signal.Signals) -> None:
    program = start(DRAINS)
    program.wait_until_ready()

    program.signal(number)

    code, printed, logged = program.end()
    assert (code, printed) == (0, "flushed\n")
    assert f"Draining signal={number.name}" in logged
    assert "Stopped exit_code=0" in logged


def test_the_fast_loop_is_used_where_it_is_installed(start: Start, request: pytest.FixtureRequest) -> None:
    program = start("""
        async def run(shutdown):
            print(type(asyncio.get_running_loop()).__module__, flush=True)
    """)

    assert program.end()[1].startswith("uvloop" if "uvloop" in request.node.name else "asyncio")


def test_at_the_deadline_the_run_is_cancelled_and_the_exit_code_is_1(start: Start) -> None:
    program = start(NEVER_DRAINS, drain_limit=0.2)
    program.wait_until_ready()

    program.signal()

    code, printed, logged = program.end()
    assert (code, printed) == (1, "closed\n")
    assert "Not drained in time" in logged
    assert "Stopped exit_code=1" in logged


def test_a_run_that_swallows_its_cancellation_and_returns_has_not_drained(start: Start) -> None:
    program = start(
        """
        async def run(shutdown):
            shutdown.on_stop(lambda: None)
            ready()
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                return
        """,
        drain_limit=0.2,
    )
    program.wait_until_ready()

    program.signal()

    assert program.end()[0] == 1


@pytest.mark.parametrize("hang", ["blocked", "spinning", "deaf", "waiting_for_a_thread"])
def test_what_hangs_is_ended_a_second_after_the_deadline(start: Start, hang: str) -> None:
    program = start(HANGS + f"    hang = {hang}\n", drain_limit=0.2)
    program.wait_until_ready()
    signalled = time.monotonic()

    program.signal()

    assert program.end()[0] == 1
    assert 1.0 < time.monotonic() - signalled < 30.0  # it would hang for an hour


def test_a_loop_that_was_stuck_before_the_signal_is_ended_too(start: Start) -> None:
    program = start(
        """
        async def run(shutdown):
            ready()
            time.sleep(3600)
    """,
        drain_limit=0.2,
    )
    program.wait_until_ready()

    program.signal()

    assert program.end()[0] == 1


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_at_once(start: Start, second: signal.Signals) -> None:
    program = start(
        """
        async def run(shutdown):
            shutdown.on_stop(ready)
            ready()
            await asyncio.sleep(3600)
        """,
        drain_limit=60.0,
    )
    program.wait_until_ready()
    program.signal()
    program.wait_until_ready()  # again: it drains

    program.signal(second)

    assert program.end()[0] == 128 + second


def test_a_second_signal_ends_also_what_is_stuck(start: Start) -> None:
    program = start(
        """
        async def run(shutdown):
            def block():
                ready()
                time.sleep(3600)
            shutdown.on_stop(block)
            ready()
            await asyncio.sleep(3600)
        """,
        drain_limit=60.0,
    )
    program.wait_until_ready()
    program.signal()
    program.wait_until_ready()

    program.signal()

    assert program.end()[0] == 128 + signal.SIGTERM


def test_signals_that_interrupt_nothing_are_obeyed(start: Start) -> None:
    """A signal that comes right before a call interrupts it as little as one that another thread receives.

    Where the main thread does not wait yet when it comes, this shows nothing.
    """
    program = start(
        """
        def signalled():
            time.sleep(0.2)  # by now the main thread waits
            signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

        async def run(shutdown):
            def block():
                threading.Thread(target=signalled).start()
                time.sleep(3600)
            shutdown.on_stop(block)
            threading.Thread(target=signalled).start()
            await asyncio.sleep(3600)
        """,
        drain_limit=60.0,
    )

    assert program.end()[0] == 128 + signal.SIGTERM


def test_signals_are_obeyed_when_the_run_is_over_and_a_thread_is_not(start: Start) -> None:
    program = start(
        """
        async def run(shutdown):
            asyncio.get_running_loop().run_in_executor(None, time.sleep, 3600)
        """,
        drain_limit=60.0,
    )
    program.wait_until_logged("Stopped")  # the loop runs once more, to close, and waits for the thread
    program.signal()
    program.wait_until_logged("Draining")

    program.signal()

    assert program.end()[0] == 128 + signal.SIGTERM


def test_a_signal_during_the_start_ends_at_once(start: Start) -> None:
    program = start(
        """
        async def run(shutdown):
            ready()
            await asyncio.sleep(3600)  # waits for a broker that is not up
        """,
        drain_limit=60.0,
    )
    program.wait_until_ready()
    signalled = time.monotonic()

    program.signal()

    assert program.end()[0] == 0
    assert time.monotonic() - signalled < 30.0


def test_who_registers_after_the_stop_began_is_called_at_once(start: Start) -> None:
    program = start("""
        async def run(shutdown):
            begun = asyncio.Event()
            shutdown.on_stop(begun.set)
            ready()
            await begun.wait()
            shutdown.on_stop(lambda: print("late", flush=True))
            print("then", flush=True)
    """)
    program.wait_until_ready()

    program.signal()

    assert program.end()[:2] == (0, "late\nthen\n")


def test_a_run_that_is_done_ends_with_its_code(start: Start) -> None:
    assert start("async def run(shutdown): pass\n").end()[0] == 0
    assert start("async def run(shutdown): return 1\n").end()[0] == 1


def test_a_crash_ends_with_1_and_a_traceback_without_secrets(start: Start) -> None:
    """Fault 66."""
    program = start("""
        async def run(shutdown):
            async with asyncio.TaskGroup() as group:
                group.create_task(fail())
        async def fail():
            raise RuntimeError("lost amqp://guest:hush@broker/")
    """)

    code, _, logged = program.end()

    assert code == 1
    assert "Crashed" in logged and "Traceback" in logged and "RuntimeError" in logged
    assert "hush" not in logged


def test_a_refused_start_ends_with_2_and_its_sentence(start: Start) -> None:
    """Fault 66."""
    program = start("""
        async def run(shutdown):
            raise StartRefused("The queue is not durable; delete it.")
    """)

    code, _, logged = program.end()

    assert code == 2
    [line] = logged.splitlines()
    assert line.endswith(" error test The queue is not durable; delete it.")


def test_refusals_of_several_tasks_are_told_once_each(start: Start) -> None:
    program = start("""
        async def run(shutdown):
            refusals = [StartRefused("No such vhost."), StartRefused("No such vhost."), SettingsError("One.\\nTwo.")]
            raise ExceptionGroup("all", [ExceptionGroup("inner", refusals[:2]), refusals[2]])
    """)

    code, _, logged = program.end()

    assert code == 2
    assert [line.split(" test ")[1] for line in logged.splitlines()] == ["No such vhost.", "One.", "Two."]


def test_a_refusal_beside_a_crash_is_a_crash(start: Start) -> None:
    program = start("""
        async def run(shutdown):
            raise ExceptionGroup("all", [StartRefused("No such vhost."), RuntimeError("a bug")])
    """)

    code, _, logged = program.end()

    assert code == 1
    assert "a bug" in logged


START = """
    async def run(settings, shutdown):
        print(settings.consumer.batch_size, flush=True)
    sys.exit(start("tableinator", TableinatorSettings, run, environ=os.environ))
"""


def test_wrong_settings_end_with_2_and_a_sentence_each(start: Start) -> None:
    """Fault 65."""
    environ = {"POSTGRES_BATCH_SIZE": "many", "KINDS": "films", "POSTGRES_PASSWORD": "hush", "POSTGRES_DSN": "hush"}

    code, printed, logged = start(START, environ=environ).end()

    assert (code, printed) == (2, "")
    assert len(logged.splitlines()) == 3
    assert " error tableinator POSTGRES_BATCH_SIZE is 'many'; allowed is a whole number" in logged
    assert "Traceback" not in logged and "hush" not in logged


def test_right_settings_reach_the_run_and_misspelt_ones_are_told(start: Start) -> None:
    environ = {"POSTGRES_BATCH_SIZE": "7", "POSTGRES_WRITER": "7", "LOG_FORMAT": "json"}

    code, printed, logged = start(START, environ=environ).end()

    assert (code, printed) == (0, "7\n")
    assert (
        '"event": "POSTGRES_WRITER is not a setting and changes nothing; the nearest one is POSTGRES_WRITERS."'
        in logged
    )


# A program that logs more than any pipe holds, and says on standard output that its loop turns all the same.
LOGS_MUCH = """
    import structlog
    log = structlog.get_logger()

    async def run(shutdown):
        stop = asyncio.Event()
        shutdown.on_stop(stop.set)
        for number in range(12_000):
            log.info("Batch processed", number=number, more="x" * 400)
            if number % 100 == 0:
                await asyncio.sleep(0)
        ready()
        await stop.wait()
"""


def test_a_log_that_nobody_reads_stops_nothing(start: Start) -> None:
    """Fault 87: standard error is a pipe, and it is full."""
    program = start(LOGS_MUCH)
    program.wait_until_ready()  # 6 MB have been logged; a pipe holds 64 KiB, and the queue 4 MiB

    program.signal()

    assert program.process.wait(30) == 0


def test_what_had_to_be_dropped_is_told_as_soon_as_somebody_reads(start: Start) -> None:
    """Fault 87: each line is read or counted. A queue that fills early, as the writer is slow, has it told twice."""
    program = start(LOGS_MUCH)
    program.wait_until_ready()
    assert program.process.stderr is not None
    lines = iter(program.process.stderr.readline, "")

    read = dropped = 0
    while read + dropped < 12_000:
        line = next(lines)
        read += "Batch processed" in line
        dropped += int(line.rpartition("count=")[2]) if "Log lines dropped" in line else 0

    assert (read + dropped, dropped > 1_000) == (12_000, True)
    program.signal()
    assert program.process.wait(30) == 0


@pytest.mark.parametrize("ended", ["reader", "disk"])
def test_a_log_that_can_not_be_written_ends_nothing(start: Start, ended: str) -> None:
    """Fault 87: the reader is gone, or the disk is full; also at the start."""
    redirect = (
        "r, w = os.pipe(); os.close(r); os.dup2(w, 2)"
        if ended == "reader"
        else "f = open('/dev/full', 'w'); os.dup2(f.fileno(), 2)"
    )
    program = start(f"{redirect}\n" + textwrap.dedent(LOGS_MUCH))
    program.wait_until_ready()

    program.signal()

    assert program.process.wait(30) == 0


def test_a_standard_error_that_is_closed_is_written_to_by_nobody(start: Start) -> None:
    """Fault 87: descriptor 2 is a connection by then."""
    program = start(
        """
        os.close(2)
        sys.stderr = sys.__stderr__ = None
        import socket
        ours, theirs = socket.socketpair()
        assert ours.fileno() == 2 or theirs.fileno() == 2

        async def run(shutdown):
            import structlog
            structlog.get_logger().info("Not for them")
            for end in (ours, theirs):
                end.setblocking(False)
                try:
                    print(end.recv(100), flush=True)
                except BlockingIOError:
                    pass
        """
    )

    assert program.end()[:2] == (0, "")


def test_variables_of_a_librarys_own_decide_nothing(start: Start) -> None:
    program = start(
        """
        from common.telemetry.metrics import KindMetrics
        async def run(shutdown):
            KindMetrics("tableinator", "artists").reconnected()
        """,
        environ={"PROMETHEUS_MULTIPROC_DIR": "/nowhere/at/all"},
    )

    assert program.end()[0] == 0


def test_a_service_says_at_its_start_what_is_in_effect(start: Start) -> None:
    environ = {
        "POSTGRES_BATCH_FLUSH_INTERVAL": "3.5",
        "RABBITMQ_PASSWORD": "hushhush",
        "RABBITMQ_HOST": "broker.invalid",
    }
    program = start(
        """
        from common.consumer import run_consumer
        from common.kinds import Service
        from contextlib import asynccontextmanager

        @asynccontextmanager
        async def open_store(settings):
            raise StartRefused("No store here.")
            yield

        sys.exit(run_consumer(Service.TABLEINATOR, TableinatorSettings, open_store))
        run = None
        """,
        environ={**environ, "METRICS_PORT": "0", "METRICS_HOST": "127.0.0.1"},
    )

    code, _, logged = program.end()

    [line] = [line for line in logged.splitlines() if " Starting " in line]
    assert code == 2
    assert " flush_interval=3.5 " in line
    assert " batch_size=500 " in line
    assert " broker=broker.invalid:5672 " in line
    assert "hushhush" not in logged
