"""A process that receives and settles, and does nothing else: what a source costs alone.

`python -m bench.draining SOURCE RECORDS`, the broker by the environment. It says `start` when a tenth has arrived and
`stop` with seconds and CPU seconds since then when all has, then waits for the end of its input.
"""

import asyncio
import os
import sys
import time

from bench.queues import NAMES
from common.consumer import READERS
from common.kinds import Service
from common.rabbitmq.access import BrokerAccess
from common.rabbitmq.consuming.source import RabbitSource
from common.service import fast_loop
from common.settings.environment import load
from common.settings.programs import ProgramSettings
from common.telemetry import logs
from common.telemetry.metrics import KindMetrics

PREFETCH = 2000
_MAX_BYTES = 64 * 1024 * 1024


async def drain(source: RabbitSource, records: int) -> None:
    """Receive and settle so many."""
    async with asyncio.TaskGroup() as around:
        around.create_task(source.run(), name="source")
        seen = await _settle(source, records // 10)
        _say("start")
        wall, cpu, first = time.perf_counter(), time.process_time(), seen
        seen += await _settle(source, records - seen)
        _say(f"stop {seen - first} {time.perf_counter() - wall} {time.process_time() - cpu}")
        await asyncio.to_thread(sys.stdin.read)
        await source.close()


async def _settle(source: RabbitSource, wanted: int) -> int:
    seen = 0
    while seen < wanted:
        burst = await source.receive()
        source.settle(burst)
        seen += len(burst)
    return seen


def main() -> None:
    """Run."""
    name, records = sys.argv[1], int(sys.argv[2])
    logs.configure("bench", level="warning")
    settings = load(ProgramSettings, os.environ)
    source = RabbitSource(
        BrokerAccess(settings.broker),
        NAMES,
        Service.TABLEINATOR,
        "releases",
        prefetch=PREFETCH,
        max_bytes=_MAX_BYTES,
        consumer_timeout=1800.0,
        metrics=KindMetrics(Service.TABLEINATOR, "releases"),
        reader=READERS[name],
    )
    with asyncio.Runner(loop_factory=fast_loop()) as runner:
        runner.run(drain(source, records))


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    main()
