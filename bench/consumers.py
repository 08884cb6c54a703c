"""Our services as processes of a bench: started with their settings, watched, stopped."""

import asyncio
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

_ROOT = Path(__file__).parents[1]
_STOP_LIMIT = 15.0
_SERVING = re.compile(r"Serving metrics and health host=\S+ port=(\d+)")


WITHOUT_LEDGER = "bench.without_ledger"


class Process:
    """A program and its log."""

    def __init__(self, argv: list[str], environment: Mapping[str, str], log: Path) -> None:
        self._log = log
        with log.open("wb") as out:
            self._process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=_ROOT,
                env={"PATH": os.environ["PATH"], **environment},
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        """Whether it is over."""
        return self._process.poll() is not None

    @property
    def exit_code(self) -> int | None:
        """How it ended; None while it runs."""
        return self._process.poll()

    @property
    def log(self) -> str:
        """Everything it has said."""
        return self._log.read_text(errors="replace")

    async def wait(self, limit: float) -> int:
        """Wait for its end. Returns: its exit code. Raises: subprocess.TimeoutExpired."""
        return await asyncio.to_thread(self._process.wait, limit)

    async def end(self) -> int:
        """Ask it to end, wait, and kill it after a bound. Returns: its exit code."""
        if not self.has_ended:
            self._process.send_signal(signal.SIGTERM)
        try:
            return await self.wait(_STOP_LIMIT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return await self.wait(_STOP_LIMIT)


class Consumer(Process):
    """One replica of graphinator or tableinator."""

    def __init__(self, service: str, environment: Mapping[str, str], log: Path, *, program: Sequence[str] = ()) -> None:
        """`program`: the module to run, and its arguments; the service itself if none is given."""
        own = {"METRICS_HOST": "127.0.0.1", "METRICS_PORT": "0", "KINDS": "releases", "LOG_FORMAT": "logfmt"}
        super().__init__([sys.executable, "-m", *(program or [service])], {**own, **environment}, log)

    def metric(self, name: str, **labels: str) -> float:
        """The sum of all series of this name that have these labels, as /metrics says now."""
        return sum(value for found, value in self._series(name) if labels.items() <= found.items())

    def buckets(self, name: str) -> dict[float, float]:
        """A histogram over all series of this name: by upper bound, how many values do not exceed it."""
        counts: dict[float, float] = {}
        for labels, value in self._series(name):
            bound = float(labels["le"])
            counts[bound] = counts.get(bound, 0.0) + value
        return counts

    async def is_ready(self) -> bool | None:
        """True once it has its broker and its store."""
        try:
            await asyncio.to_thread(self._get, "/health/ready")
        except OSError:  # an answer that is not 200 is one too
            return None
        return True

    def _series(self, name: str) -> Iterator[tuple[dict[str, str], float]]:
        for family in text_string_to_metric_families(self._get("/metrics")):
            yield from ((sample.labels, sample.value) for sample in family.samples if sample.name == name)

    def _get(self, path: str) -> str:
        found = _SERVING.search(self.log)
        if found is None:
            raise ConnectionRefusedError(f"nothing is served; the log says:\n{self.log[-2000:]}")
        with urllib.request.urlopen(f"http://127.0.0.1:{found[1]}{path}", timeout=5.0) as answer:
            content: bytes = answer.read()
        return content.decode()
