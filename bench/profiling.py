"""Where tableinator's own microseconds go: `python -m bench.profiling [--records N]`, on servers as the bench has them.

py-spy looks at the process 400 times a second while it stores new records; a function's share of the looks is its share
of the CPU time per record. Waiting for a core counts as work, so the machine should be quiet.
"""

import asyncio
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

from bench.arms import Watch
from bench.clock import Stopwatch
from bench.running import files, stage_of
from bench.servers import running
from bench.settings import parse
from bench.stage import Stage
from bench.table_consumer import Tableinator, Task
from common.telemetry import logs

_LOOKS = 400  # a second
_SHOWN = 20
_SPY = str(Path(sys.executable).with_name("py-spy"))


class Spying:
    """A watch during which py-spy looks at a process."""

    def __init__(self, watch: Watch, arm: Tableinator, path: Path) -> None:
        self._watch, self._arm, self._path = watch, arm, path
        self._spy: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start both."""
        argv = [_SPY, "record", "-r", str(_LOOKS), "-f", "raw", "-o", str(self._path), "-d", "600", "--nonblocking"]
        argv += ["-p", str(self._arm.processes()["consumer"])]
        self._spy = subprocess.Popen(argv, stdout=subprocess.DEVNULL)
        self._watch.start()

    def stop(self) -> None:
        """Stop both."""
        self._watch.stop()
        if self._spy is not None:
            self._spy.send_signal(signal.SIGINT)
            self._spy.wait(timeout=30)


def shares(raw: str) -> Counter[str]:
    """How often each function was at the top of a stack, from py-spy's raw lines: `a (f:1);b (f:2) 7`."""
    counted: Counter[str] = Counter()
    for line in raw.splitlines():
        stack, _, count = line.rpartition(" ")
        counted[stack.rpartition(";")[2].partition(":")[0]] += int(count)
    return counted


async def _profile(stage: Stage, servers: dict[str, int]) -> None:
    arm = Tableinator("profile", stage, Task(stage.releases, start=len(stage.releases) // 20))
    watch, path = Stopwatch(servers, arm.processes), stage.folder / "profile.raw"
    try:
        await arm.prepare()
        run = await arm.run(Spying(watch, arm, path))
        each = watch.measured().cpu["consumer"] * 1e6 / run.records
    finally:
        await arm.end()
    looks = shares(path.read_text())
    print(f"{each:.1f} µs of CPU a record, {looks.total():,} looks")
    for function, count in looks.most_common(_SHOWN):
        print(f"{each * count / looks.total():6.2f} µs  {function})")


def main() -> None:
    """Profile once."""
    settings = parse(
        sys.argv[1:], prog="python -m bench.profiling", description="Say where tableinator spends its CPU time."
    )
    logs.configure("bench", level="error")
    with files() as folder, running({"rabbitmq", "postgres"}, print) as addresses:
        asyncio.run(_profile(stage_of(settings, addresses, folder), addresses.processes()))


if __name__ == "__main__":
    main()
