"""tableinator as an arm: over a full queue, into a table that is empty or holds most of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bench.arms import Run, Watch
from bench.consumers import WITHOUT_LEDGER, Consumer
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
        self,
        name: str,
        stage: Stage,
        task: Task,
        *,
        source: str = "fast",
        replicas: int = 1,
        has_ledger: bool = True,
        parts: int | None = None,
        **settings: str,
    ) -> None:
        """`parts`: of how many the table is to consist, 0 for one piece; None: as tableinator makes it."""
        self.name, self._parts = name, parts
        self._program = () if has_ledger else (WITHOUT_LEDGER, Service.TABLEINATOR)
        self._stage, self._task, self._replicas = stage, task, replicas
        self._settings = {"POSTGRES_DSN": stage.postgres_dsn, "RABBITMQ_SOURCE": source, **settings}
        self._queue = Queue(stage.rabbitmq_url, Service.TABLEINATOR)
        self._consumers: list[Consumer] = []
        self._tables: Tables | None = None

    async def prepare(self) -> None:
        """Have the queue full and the table as the task wants it."""
        stage, task = self._stage, self._task
        self._tables = tables = await Tables.connect(stage.postgres_dsn)
        await (tables.make() if self._parts is None else tables.make_in_parts(self._parts))
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
            Consumer(
                Service.TABLEINATOR,
                environment,
                self._stage.folder / f"{self.name}-{number}.log",
                program=self._program,
            )
            for number in range(self._replicas)
        ]
        task = self._task
        course = _Together(
            TableCourse(self._tables, task.messages, start=task.start, counted=not task.stored), self._all_at_work
        )
        noting = _Noting(watch, self._batches)
        records = await race(noting, course, lost=self._lost)
        batches, batched = (now - before for now, before in zip(self._batches(), noting.noted, strict=True))
        return Run(records, {"batch_fill": batched / batches / BATCH})

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

    def _all_at_work(self) -> bool:
        if len(self._consumers) == 1:  # not asked: an answer costs it a millisecond of its measured time
            return True
        try:
            return all(each.metric("spindle_records_total") for each in self._consumers)
        except OSError:
            return False

    def _batches(self) -> tuple[float, float]:
        """How many batches there were, and how many records in them."""
        names = ("spindle_batch_size_records_count", "spindle_batch_size_records_sum")
        count, records = (sum(each.metric(name) for each in self._consumers) for name in names)
        return count, records


class _Together:
    """A race that starts no sooner than all replicas have begun."""

    def __init__(self, course: TableCourse, all_at_work: Callable[[], bool]) -> None:
        self._course, self._all_at_work = course, all_at_work
        self._have_begun = False
        self.records = course.records

    async def passed_start(self) -> int | None:
        """How many rows there are, once there are some of every replica."""
        before = await self._course.passed_start()
        if before is None or self._have_begun:
            return before
        self._have_begun = self._all_at_work()
        if before >= self.records and not self._have_begun:
            raise RuntimeError("one replica had done everything before the other had begun")
        return None  # asking took its time: the rows are to be counted again

    async def passed_finish(self) -> bool | None:
        """True once everything is stored."""
        return await self._course.passed_finish()


class _Noting:
    """A watch that also notes the batches so far: those of a consumer that has just started are not a backlog's."""

    def __init__(self, watch: Watch, batches: Callable[[], tuple[float, float]]) -> None:
        self._watch, self._batches = watch, batches
        self.noted = (0.0, 0.0)

    def start(self) -> None:
        """Start, then note."""
        self._watch.start()
        self.noted = self._batches()

    def stop(self) -> None:
        """Stop."""
        self._watch.stop()
