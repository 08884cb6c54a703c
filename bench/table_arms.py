"""tableinator over a full queue: new records, the same again, one in twenty changed; both sources, two replicas."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.arms import Arm, Run, Watch
from bench.consumers import Consumer
from bench.psql import PsqlBinary, PsqlText
from bench.queues import Queue
from bench.race import race
from bench.stage import Stage
from bench.tables import TableCourse, Tables, write_binary
from common.kinds import Service
from extractor.message import Message

BATCH = 500
"""The configured size, with which a batch's fill is compared."""


@dataclass(frozen=True, slots=True)
class Task:
    """What the queue brings, what of it is stored already, and which record's arrival starts the watch."""

    messages: Sequence[Message]
    stored: Sequence[Message] = ()
    fresh: Sequence[Message] = ()
    """Of the messages those that are not among the stored, where most are."""
    start: int = 0


class Tableinator:
    """One way to run it."""

    def __init__(
        self, name: str, stage: Stage, task: Task, *, source: str = "fast", replicas: int = 1, **settings: str
    ) -> None:
        self.name = name
        self._stage, self._task, self._replicas = stage, task, replicas
        self._settings = {"POSTGRES_DSN": stage.postgres_dsn, "RABBITMQ_SOURCE": source, **settings}
        self._queue = Queue(stage.rabbitmq_url, Service.TABLEINATOR)
        self._consumers: list[Consumer] = []
        self._tables: Tables | None = None

    async def prepare(self) -> None:
        """Have the queue full and the table as the task wants it."""
        stage, task = self._stage, self._task
        self._tables = tables = await Tables.connect(stage.postgres_dsn)
        await tables.make()
        if task.stored:
            file = stage.folder / "stored.copy"
            if not file.exists():
                write_binary(file, stage.releases, load=stage.load.date)
            await tables.fill(file, without=task.fresh)
        await self._queue.make()
        await self._queue.fill(task.messages, load=stage.load.date)

    async def run(self, watch: Watch) -> Run:
        """Start it and follow it to the end."""
        assert self._tables is not None
        environment = {**self._queue.environment, **self._settings}
        self._consumers = [
            Consumer(Service.TABLEINATOR, environment, self._stage.folder / f"{self.name}-{number}.log")
            for number in range(self._replicas)
        ]
        task = self._task
        course = TableCourse(self._tables, task.messages, start=task.start, counted=not task.stored)
        return Run(await race(watch, course, lost=self._lost), self._figures())

    async def check(self) -> None:
        """Compare the table; nothing may be dead-lettered."""
        assert self._tables is not None
        await self._tables.compare(self._task.messages)
        if letters := await self._queue.dead_letters():
            raise RuntimeError(f"{letters} dead letters")

    def processes(self) -> Mapping[str, int]:
        """The replicas."""
        return {f"consumer{f'_{number}' if number > 1 else ''}": each.pid for number, each in self._numbered()}

    async def end(self) -> None:
        """Stop the replicas."""
        for consumer in self._consumers:
            await consumer.end()
        self._consumers = []
        if self._tables is not None:
            await self._tables.close()
            self._tables = None

    def _numbered(self) -> Sequence[tuple[int, Consumer]]:
        return list(enumerate(self._consumers, start=1))

    def _lost(self) -> str | None:
        ended = [each for each in self._consumers if each.has_ended]
        return f"tableinator ended; its log says:\n{ended[0].log[-2000:]}" if ended else None

    def _figures(self) -> dict[str, float]:
        batches = sum(each.metric("spindle_batch_size_records_count") for each in self._consumers)
        records = sum(each.metric("spindle_batch_size_records_sum") for each in self._consumers)
        return {"batch_fill": records / batches / BATCH}


def arms(stage: Stage) -> list[Arm]:
    """Ours, and PostgreSQL's own."""
    new = Task(stage.releases, start=len(stage.releases) // 20)
    return [
        PsqlText(stage),
        PsqlBinary(stage),
        Tableinator("tables_fast", stage, new),
        Tableinator("tables_aio_pika", stage, new, source="aio-pika"),
        Tableinator("tables_two_replicas", stage, new, replicas=2),
        Tableinator("tables_unchanged", stage, _unchanged(stage)),
        Tableinator("tables_changed", stage, _changed(stage)),
    ]


def _unchanged(stage: Stage) -> Task:
    messages = stage.releases
    start = _end_of_a_batch(len(messages) // 20)
    return Task(messages, messages, (messages[start], messages[-1]), start)


def _changed(stage: Stage) -> Task:
    messages = stage.changed
    differing = [position for position, both in enumerate(zip(messages, stage.releases, strict=True)) if _differ(*both)]
    start = next(position for position in differing if position >= _end_of_a_batch(len(messages) // 20))
    return Task(messages, stage.releases, (), start)


def _end_of_a_batch(position: int) -> int:
    return position // BATCH * BATCH + BATCH - 1


def _differ(one: Message, other: Message) -> bool:
    return one.sha256 != other.sha256
