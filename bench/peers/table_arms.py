"""Others into PostgreSQL, from the same queue into the same table: the per-message consumer, its batches, Bento,
mq-bridge.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from bench.arms import Arm, Run, Watch
from bench.consumers import Process
from bench.peers import bento_program, mq_bridge_program
from bench.peers.per_message import BATCH_PREFETCH
from bench.queues import Queue
from bench.race import race
from bench.stage import Stage
from bench.tables import TableCourse, Tables
from common.kinds import Service
from extractor.message import Message

_ONE_BY_ONE = 3_000
_IN_BATCHES = 4 * BATCH_PREFETCH
"""Records for the slow ones: three seconds' worth of the first, twenty of the second, whose rate is a constant."""

Launch = Callable[[Mapping[str, str], Path], Process]


class Peer:
    """A consumer that is not ours; `launch` starts it with the addresses in its environment."""

    def __init__(
        self,
        name: str,
        stage: Stage,
        messages: Sequence[Message],
        *,
        start: int,
        launch: Launch,
        has_plain_queue: bool = False,
    ) -> None:
        self.name = name
        self._stage, self._messages, self._start, self._launch = stage, messages, start, launch
        self._queue = Queue(stage.rabbitmq_url, Service.TABLEINATOR, is_plain=has_plain_queue)
        self._process: Process | None = None
        self._tables: Tables | None = None

    async def prepare(self) -> None:
        """Have the queue full and the table empty, made as ours."""
        self._tables = await Tables.connect(self._stage.postgres_dsn)
        await self._tables.make()
        await self._queue.make()
        await self._queue.fill(self._messages, load=self._stage.load.date)

    async def run(self, watch: Watch) -> Run:
        """Start it and follow it to the end."""
        assert self._tables is not None
        environment = {
            "AMQP_URL": self._stage.rabbitmq_url,
            "QUEUE": self._queue.name,
            "DSN": without_tls(self._stage.postgres_dsn),
            "LOAD": self._stage.load.date,
        }
        self._process = self._launch(environment, self._stage.folder / f"{self.name}.log")
        course = TableCourse(self._tables, self._messages, start=self._start)
        return Run(await race(watch, course, lost=self._lost))

    async def check(self) -> None:
        """Compare the table."""
        assert self._tables is not None
        await self._tables.compare(self._messages)

    def processes(self) -> Mapping[str, int]:
        """The consumer."""
        return {} if self._process is None else {"consumer": self._process.pid}

    async def end(self) -> None:
        """Stop it."""
        if self._process is not None:
            await self._process.end()
            self._process = None
        if self._tables is not None:
            await self._tables.close()
            self._tables = None

    def _lost(self) -> str | None:
        if self._process is None or not self._process.has_ended:
            return None
        return f"{self.name} ended; its log says:\n{self._process.log[-2000:]}"


def arms(stage: Stage) -> list[Arm]:
    """The others."""
    fewest = stage.releases[:_IN_BATCHES]
    every: list[Arm] = [
        per_message_arm(stage),
        Peer("tables_per_message_batches", stage, fewest, start=BATCH_PREFETCH - 1, launch=_per_message("batches")),
    ]
    start = len(stage.releases) // 20
    if bento_program.is_here():
        every.append(Peer("tables_bento", stage, stage.releases, start=start, launch=_bento))
    if mq_bridge_program.is_here():
        launch = mq_bridge_program.start
        every.append(Peer("tables_mq_bridge", stage, stage.releases, start=start, launch=launch, has_plain_queue=True))
    return every


def per_message_arm(stage: Stage) -> Peer:
    """The consumer that takes one message at a time."""
    few = stage.releases[:_ONE_BY_ONE]
    return Peer("tables_per_message", stage, few, start=len(few) // 20, launch=_per_message("rows"))


def without_tls(dsn: str) -> str:
    """The same address with `sslmode=disable`, which Bento's driver must be told and ours need not."""
    parts = urlsplit(dsn)
    query = {**dict(parse_qsl(parts.query)), "sslmode": "disable"}
    return urlunsplit(parts._replace(query=urlencode(query)))


def _per_message(recipe: str) -> Launch:
    argv = [sys.executable, "-m", "bench.peers.per_message", recipe]
    return lambda environment, log: Process(argv, environment, log)


def _bento(environment: Mapping[str, str], log: Path) -> Process:
    return bento_program.start("tables", environment, log)
