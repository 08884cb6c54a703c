"""The real services as processes of their own: started, watched, killed and stopped as an operator would.

Every process is ended by its own id when the test is over, however that came. Each has a log file of its own, whose end
is shown where the test fails.
"""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from common.kinds import Service

ROOT = Path(__file__).parents[2]

START_LIMIT = 60.0  # seconds until a service is ready, or has ended, on a busy machine
POLL = 0.05  # seconds between two looks
_SHOWN_LINES = 60


class Metrics:
    """One answer of `/metrics`."""

    def __init__(self, text: str) -> None:
        self._lines = text.splitlines()

    def sum(self, name: str, **labels: str) -> float:
        """The sum of all series of this name that have these labels."""
        return sum(
            sample.value
            for sample in self._samples(name)
            if all(sample.labels.get(key) == value for key, value in labels.items())
        )

    def outcomes(self) -> Counter[str]:
        """Records settled, by what became of them, over all kinds; what became of none is left out."""
        counted = Counter[str]()
        for sample in self._samples("spindle_records_total"):
            counted[sample.labels["outcome"]] += int(sample.value)
        return +counted

    def _samples(self, name: str) -> list[Sample]:
        # Those lines alone: to read all of some thousand costs more than the service takes to write them.
        wanted = "".join(f"{line}\n" for line in self._lines if line.startswith((f"{name}{{", f"{name} ")))
        return [sample for family in text_string_to_metric_families(wanted) for sample in family.samples]


def in_words(outcomes: Mapping[str, int]) -> str:
    """Outcomes for a printed line."""
    return ", ".join(f"{count:,} {name}" for name, count in sorted(outcomes.items()))


class Running:
    """One process of a service."""

    def __init__(
        self,
        service: Service,
        environment: Mapping[str, str],
        log: Path,
        *,
        program: Sequence[str] = (),
        root: Path = ROOT,
    ) -> None:
        """`program`: the module to run, and its arguments, where it is not the service's own. `root`: where the code
        is.
        """
        self.service = service
        self._log = log
        with log.open("wb") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *(program or [service])],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=root,
                env={"PATH": os.environ["PATH"], "METRICS_HOST": "127.0.0.1", "METRICS_PORT": "0", **environment},
            )
        self._usage = psutil.Process(self._process.pid)

    @property
    def log(self) -> str:
        """Everything it has logged so far."""
        return self._log.read_text(errors="replace")

    @property
    def has_ended(self) -> bool:
        """Whether the process is over."""
        return self._process.poll() is not None

    def cpu_seconds(self) -> float:
        """How much processor time it has used."""
        times = self._usage.cpu_times()
        return times.user + times.system

    def descriptors(self) -> int:
        """How many files and sockets it has open."""
        return int(self._usage.num_fds())

    def resident_bytes(self) -> int:
        """How much memory it holds; 0 once it has ended."""
        try:
            return int(self._usage.memory_info().rss)
        except psutil.NoSuchProcess:
            return 0

    async def until_ready(self) -> None:
        """Wait until it has its broker and its store."""
        await self.until(self._is_ready, "ready", seconds=START_LIMIT)

    async def until(self, fact: Callable[[], Any], what: str, *, seconds: float = 120.0) -> None:
        """Look again and again whether something is so; fail if the process ends or the time is over."""
        deadline = time.monotonic() + seconds
        while not await asyncio.to_thread(fact):
            assert not self.has_ended, f"{self.service} ended with {self._process.returncode} before it was {what}"
            assert time.monotonic() < deadline, f"{self.service} was not {what} within {seconds:g} s"
            await asyncio.sleep(POLL)

    async def until_settled(self, records: int, *, seconds: float = 120.0) -> None:
        """Wait until this process has brought so many records to an end."""
        await self.until(lambda: self.settled() >= records, f"at {records:,} records", seconds=seconds)

    def settled(self) -> int:
        """How many records this process has brought to an end."""
        return int(self.metrics().sum("spindle_records_total"))

    def metrics(self) -> Metrics:
        """What `/metrics` says now."""
        return Metrics(self._get("/metrics")[1])

    def ready(self) -> tuple[int, dict[str, Any]]:
        """Status and body of `/health/ready`."""
        status, body = self._get("/health/ready")
        return status, json.loads(body)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """For as long it says nothing, with its connections open."""
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """`kill -9`, and wait until it is gone."""
        self._process.kill()
        self._process.wait(timeout=10.0)

    async def stop(self) -> tuple[int, float]:
        """SIGTERM. Returns: the exit code, and how many seconds the end took."""
        began = time.monotonic()
        self._process.send_signal(signal.SIGTERM)
        return await self.end(), time.monotonic() - began

    async def end(self) -> int:
        """Wait for its end. Returns: the exit code."""
        return await asyncio.to_thread(self._process.wait, START_LIMIT)

    def report(self) -> str:
        """The end of its log, for whoever looks at a failed test."""
        lines = self.log.splitlines()
        return "\n".join([f"--- {self._log} ({len(lines)} lines)", *lines[-_SHOWN_LINES:]])

    @property
    def place(self) -> str:
        """Where it serves metrics and health: host:port.

        Raises: ConnectionRefusedError if it does not yet.
        """
        found = re.search(r"Serving metrics and health host=\S+ port=(\d+)", self.log)
        if found is None:
            raise ConnectionRefusedError("not listening yet")
        return f"127.0.0.1:{found[1]}"

    def _is_ready(self) -> bool:
        try:
            return self.ready()[0] == 200
        except OSError:
            return False

    def _get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://{self.place}{path}", timeout=20.0) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:  # a status that is not 200 is an answer as well
            return error.code, error.read().decode()


class Services:
    """The processes that one test has started."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._started: list[Running] = []

    def launch(self, service: Service, environment: Mapping[str, str]) -> Running:
        """Start a process and don't wait for it."""
        running = Running(service, environment, self._folder / f"{service}-{len(self._started)}.log")
        self._started.append(running)
        return running

    async def start(self, service: Service, environment: Mapping[str, str]) -> Running:
        """Start a process and wait until it is ready."""
        running = self.launch(service, environment)
        await running.until_ready()
        return running

    def end(self) -> None:
        """End whatever still runs."""
        for running in self._started:
            running.kill()

    def report(self) -> str:
        """The ends of all logs."""
        return "\n".join(running.report() for running in self._started)
