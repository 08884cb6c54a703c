"""The watch of one run: wall time, CPU time by process group, peak memory, and how much of the machine others used."""

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bench.processes import MachineTimes, cpu_seconds, machine_times, peak_memory


@dataclass(frozen=True, slots=True)
class Measured:
    """One span. `cpu` is seconds by role, `memory` the peak in MB; shares are of all CPU time there was."""

    seconds: float
    cpu: Mapping[str, float]
    memory: Mapping[str, float]
    stolen: float
    """What the hypervisor took."""
    elsewhere: float
    """What processes used that have no part in the run."""


@dataclass(frozen=True, slots=True)
class _Mark:
    at: float
    cpu: Mapping[str, float]
    own: float
    machine: MachineTimes


class Stopwatch:
    """A `Watch`. `servers` are process ids by role, which run all the time; `processes` tells the arm's own."""

    def __init__(self, servers: Mapping[str, int], processes: Callable[[], Mapping[str, int]]) -> None:
        self._servers, self._processes = servers, processes
        self._started: _Mark | None = None
        self._measured: Measured | None = None

    def start(self) -> None:
        """Begin."""
        self._started = self._mark()

    def stop(self) -> None:
        """End."""
        if self._started is None:
            raise RuntimeError("the watch was never started")
        begun, ended = self._started, self._mark()
        # A process that began meanwhile has used all it has used in the span.
        cpu = {role: used - begun.cpu.get(role, 0.0) for role, used in ended.cpu.items()}
        total = max(ended.machine.total - begun.machine.total, 1e-9)
        busy = total - (ended.machine.idle - begun.machine.idle) - (ended.machine.stolen - begun.machine.stolen)
        self._measured = Measured(
            seconds=ended.at - begun.at,
            cpu=cpu,
            memory={role: peak_memory(pid) for role, pid in self._processes().items()},
            stolen=(ended.machine.stolen - begun.machine.stolen) / total,
            elsewhere=max(0.0, busy - sum(cpu.values()) - (ended.own - begun.own)) / total,
        )

    def measured(self) -> Measured:
        """What lay between start and stop."""
        if self._measured is None:
            raise RuntimeError("the watch was not stopped")
        return self._measured

    def _mark(self) -> _Mark:
        at = time.perf_counter()
        cpu = {role: cpu_seconds(pid) for role, pid in {**self._servers, **self._processes()}.items()}
        # The bench itself, and of what it started what has ended: an arm's command is over when its span is.
        return _Mark(at, cpu, sum(os.times()[:4]), machine_times())
