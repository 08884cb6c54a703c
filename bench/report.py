"""The result of a whole bench as a file: settings, machine, versions, every raw number, and the figures."""

import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import psutil

from bench.figures import Figure, figures
from bench.rounds import Result
from common import VERSION

_PACKAGES = ("aio-pika", "aiormq", "asyncpg", "lxml", "msgspec", "neo4j", "pamqp", "uvloop")


class Report(msgspec.Struct, frozen=True):
    """What a bench has found."""

    begun: str
    settings: dict[str, Any]
    machine: dict[str, Any]
    versions: dict[str, str]
    figures: dict[str, Figure]
    results: list[Result]


def report(
    results: Sequence[Result], *, begun: str, settings: Mapping[str, Any], versions: Mapping[str, str]
) -> Report:
    """Put it together; `versions` are those of servers and peers."""
    ours = {"spindle": VERSION, "commit": _commit(), "python": platform.python_version()}
    packages = {name: version(name) for name in _PACKAGES}
    everything = {**ours, **packages, **versions}
    return Report(begun, dict(settings), _machine(), everything, figures(results), list(results))


def write(path: Path, found: Report) -> None:
    """Write it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n")


def read(path: Path) -> Report:
    """Read one. Raises: msgspec.ValidationError, OSError."""
    return msgspec.json.decode(path.read_bytes(), type=Report)


def _machine() -> dict[str, Any]:
    return {
        "cpus": os.cpu_count(),
        "cpu": _cpu_model(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "kernel": platform.release(),
        "load_before": os.getloadavg()[0],
    }


def _cpu_model() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


def _commit() -> str:
    with suppress(OSError, subprocess.SubprocessError):
        argv = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
        return subprocess.run(argv, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    return ""
