"""What processes have used, read from /proc: CPU time of whole families, memory, and what the hypervisor took away."""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

_TICKS = os.sysconf("SC_CLK_TCK")
_GONE = (FileNotFoundError, ProcessLookupError)


def cpu_seconds(pid: int) -> float:
    """The CPU time of a process, of what it has started and of those of these that have ended; 0 once it is gone."""
    with suppress(*_GONE):
        # Behind the name, which may hold anything: the 12th to 15th are utime, stime, cutime, cstime.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) / _TICKS + sum(map(cpu_seconds, _children(pid)))
    return 0.0


def peak_memory(pid: int) -> float:
    """The most memory that a process has had resident, in MB; 0 once it is gone."""
    with suppress(*_GONE):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    return 0.0


def listener(port: int) -> int | None:
    """The process that listens on a port of this machine; of a family the eldest."""
    pids = {
        connection.pid
        for connection in psutil.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN and connection.laddr[1:] == (port,) and connection.pid
    }
    return min(pids, default=None)


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(*_GONE):
            found += map(int, task.read_text().split())
    return found


@dataclass(frozen=True, slots=True)
class MachineTimes:
    """CPU time of the whole machine since its start, in seconds: all of it, what was idle, what was stolen."""

    total: float
    idle: float
    stolen: float


def machine_times() -> MachineTimes:
    """Read them."""
    with Path("/proc/stat").open() as file:
        ticks = [int(field) / _TICKS for field in file.readline().split()[1:9]]  # guests are part of user
    return MachineTimes(sum(ticks), ticks[3] + ticks[4], ticks[7])
