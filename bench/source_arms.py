"""The sources alone: receive and settle a full queue, with nothing behind them."""

import asyncio
import os
import random
import sys
from collections.abc import Mapping
from uuid import UUID

from bench.arms import Arm, Run, Watch, WrongStore
from bench.queues import MoreHeaders, Queue
from bench.stage import Stage
from common.kinds import Service

_LIMIT = 120.0


class Source:
    """One of them, in a process of its own."""

    def __init__(self, stage: Stage, source: str, *, name: str = "", more: MoreHeaders = lambda _: {}) -> None:
        self.name = f"source_{name or source.replace('-', '_')}"
        self._stage, self._source, self._more = stage, source, more
        self._queue = Queue(stage.rabbitmq_url, Service.TABLEINATOR)
        self._process: asyncio.subprocess.Process | None = None

    async def prepare(self) -> None:
        """Have the queue full."""
        await self._queue.make()
        await self._queue.fill(self._stage.releases, load=self._stage.load.date, more=self._more)

    async def run(self, watch: Watch) -> Run:
        """Drain it."""
        process = self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bench.draining", self._source, str(len(self._stage.releases))),
            env={"PATH": os.environ["PATH"], **self._queue.environment},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        await _line(process, "start")
        watch.start()
        records, seconds, cpu = await _line(process, "stop")
        watch.stop()
        return Run(int(records), {"cpu_us": cpu * 1e6 / records, "rate": records / seconds})

    async def check(self) -> None:
        """See that nothing is left."""
        if waiting := await self._queue.waiting():
            raise WrongStore(f"{waiting} messages were not received")

    def processes(self) -> Mapping[str, int]:
        """The draining process."""
        return {"consumer": self._process.pid} if self._process else {}

    async def end(self) -> None:
        """End it."""
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            try:
                async with asyncio.timeout(10.0):
                    await process.communicate()  # which closes its input
            except TimeoutError:
                process.kill()
                await process.wait()


def arms(stage: Stage) -> list[Arm]:
    """Both sources, and the fast one with what a foreign producer sends."""
    return [
        Source(stage, "fast"),
        Source(stage, "aio-pika"),
        Source(stage, "fast", name="foreign_headers", more=foreign_headers),
    ]


def foreign_headers(number: int) -> Mapping[str, object]:
    """Headers that differ from message to message: a trace (W3C Trace Context), an event's id, a sequence number."""
    rng = random.Random(number)  # the same in every run
    trace, span = rng.getrandbits(128), rng.getrandbits(64)
    return {
        "traceparent": f"00-{trace:032x}-{span:016x}-01",
        "event-id": str(UUID(int=rng.getrandbits(128), version=4)),
        "sequence": number,
    }


async def _line(process: asyncio.subprocess.Process, word: str) -> list[float]:
    """The numbers behind the word that it says next, which must be this one."""
    assert process.stdout is not None
    async with asyncio.timeout(_LIMIT):
        said = (await process.stdout.readline()).decode().split()
    if said[:1] != [word]:
        raise RuntimeError(f"the source said {' '.join(said)!r} instead of {word}")
    return [float(each) for each in said[1:]]
