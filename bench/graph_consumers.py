"""Consumers of a full queue into Neo4j: graphinator with one to three writers, and Bento's `cypher` output."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.arms import Run, Watch
from bench.consumers import WITHOUT_LEDGER, Consumer, Process
from bench.graph_records import Carried
from bench.graph_store import Graph, GraphCourse
from bench.peers import bento_program
from bench.queues import Queue
from bench.race import race
from bench.stage import Stage
from common.kinds import Service
from extractor.message import Message

BATCH = 500
"""The configured size, with which a batch's fill is compared, and Bento's too."""


@dataclass(frozen=True, slots=True)
class GraphTask:
    """What the queue brings, what of it is stored already, and which record's arrival starts the watch."""

    carried: Carried
    stored: Sequence[Message] = ()
    start: int = 0
    repeats: int = 1
    """How often the queue has all but the last record: what goes fast would be over before it can be measured."""

    @property
    def messages(self) -> Sequence[Message]:
        """What the queue brings."""
        return [*list(self.carried.messages[:-1]) * self.repeats, self.carried.messages[-1]]

    def course(self, graph: Graph) -> GraphCourse:
        """The race for it."""
        return GraphCourse(graph, self.messages, start=self.start, counted=not self.stored)


class GraphConsumer:
    """One process that takes the queue; which, say those who inherit."""

    def __init__(self, name: str, stage: Stage, task: GraphTask) -> None:
        self.name = name
        self.stage, self.task = stage, task
        self.queue = Queue(stage.rabbitmq_url, Service.GRAPHINATOR)
        self.process: Process | None = None
        self._graph: Graph | None = None

    @abstractmethod
    def launch(self) -> Process:
        """Start the process."""

    def figures(self) -> Mapping[str, float]:
        """What is to be said beside the time."""
        return {}

    async def prepare(self) -> None:
        """Have the queue full and the graph as the task wants it."""
        self._graph = graph = Graph(self.stage)
        await graph.empty()
        if self.task.stored:
            await graph.fill(self.task.stored, load=self.stage.load.date)
        await self.queue.make()
        await self.queue.fill(self.task.messages, load=self.stage.load.date)

    async def run(self, watch: Watch) -> Run:
        """Start it and follow it to the end."""
        assert self._graph is not None
        self.process = self.launch()
        return Run(await race(watch, self.task.course(self._graph), lost=self._lost), self.figures())

    async def check(self) -> None:
        """Compare the graph; nothing may be dead-lettered."""
        assert self._graph is not None
        await self._graph.compare(self.task.carried)
        if letters := await self.queue.dead_letters():
            raise RuntimeError(f"{letters} dead letters")

    def processes(self) -> Mapping[str, int]:
        """The consumer."""
        return {} if self.process is None else {"consumer": self.process.pid}

    async def end(self) -> None:
        """Stop it."""
        if self.process is not None:
            await self.process.end()
            self.process = None
        if self._graph is not None:
            await self._graph.close()
            self._graph = None

    def _lost(self) -> str | None:
        if self.process is None or not self.process.has_ended:
            return None
        return f"{self.name} ended; its log says:\n{self.process.log[-2000:]}"


class Graphinator(GraphConsumer):
    """Ours; without a number of writers with as many as it has by default."""

    def __init__(
        self, name: str, stage: Stage, task: GraphTask, *, writers: int | None = None, has_ledger: bool = True
    ) -> None:
        super().__init__(name, stage, task)
        self._writers = writers
        self._program = () if has_ledger else (WITHOUT_LEDGER, Service.GRAPHINATOR)

    def launch(self) -> Process:
        """Start the service."""
        stage = self.stage
        store = {
            "NEO4J_URI": stage.neo4j_uri,
            "NEO4J_USERNAME": stage.neo4j_username,
            "NEO4J_PASSWORD": stage.neo4j_password,
            "NEO4J_DATABASE": stage.neo4j_database,
            "RABBITMQ_SOURCE": "fast",
        }
        if self._writers is not None:
            store["NEO4J_WRITERS"] = str(self._writers)
        environment = {**self.queue.environment, **store}
        log = stage.folder / f"{self.name}.log"
        return Consumer(Service.GRAPHINATOR, environment, log, program=self._program)

    def figures(self) -> Mapping[str, float]:
        """How full the batches were."""
        assert isinstance(self.process, Consumer)
        batches = self.process.metric("spindle_batch_size_records_count")
        return {"batch_fill": self.process.metric("spindle_batch_size_records_sum") / batches / BATCH}


class BentoGraph(GraphConsumer):
    """Bento with one UNWIND per batch of 500, in a transaction each; acknowledged once it has committed."""

    def launch(self) -> Process:
        """Start it."""
        stage = self.stage
        environment = {
            "AMQP_URL": stage.rabbitmq_url,
            "QUEUE": self.queue.name,
            "NEO4J_URI": stage.neo4j_uri,
            "NEO4J_USERNAME": stage.neo4j_username,
            "NEO4J_PASSWORD": stage.neo4j_password,
            "NEO4J_DATABASE": stage.neo4j_database,
        }
        return bento_program.start("graph", environment, stage.folder / f"{self.name}.log")
