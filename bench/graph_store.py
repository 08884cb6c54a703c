"""Neo4j as the graph arms find it: emptied with its constraints kept, followed during a race, compared afterwards."""

from collections.abc import Sequence
from typing import Any, LiteralString

from neo4j import AsyncDriver, AsyncGraphDatabase, NotificationMinimumSeverity
from pydantic import SecretStr

from bench.arms import WrongStore
from bench.graph_records import EDGES, KIND, Carried, other_end
from bench.stage import Stage
from common.delivery import Delivery, Epoch, Properties
from common.envelope import Projection
from extractor.message import Message
from graphinator.projection import DecodedRecord
from graphinator.schema import create_schema
from graphinator.settings import GraphinatorSettings, Neo4jSettings
from graphinator.store import open_store

_SAMPLES = 50
_TIMEOUT = 120.0
_BATCH = 500
_EMPTY: LiteralString = "MATCH (n) CALL (n) { DETACH DELETE n } IN TRANSACTIONS OF 5000 ROWS"


class Graph:
    """A driver of the bench's own, beside those of the arm."""

    def __init__(self, stage: Stage) -> None:
        self._database = stage.neo4j_database
        self._stage = stage
        self.driver: AsyncDriver = AsyncGraphDatabase.driver(
            stage.neo4j_uri,
            auth=(stage.neo4j_username, stage.neo4j_password),
            connection_timeout=10.0,
            notifications_min_severity=NotificationMinimumSeverity.OFF,
        )

    async def close(self) -> None:
        """Disconnect."""
        await self.driver.close()

    async def empty(self) -> None:
        """Have no nodes, and the constraints as graphinator makes them. Two seconds for 20,000 releases with edges;
        a server started again would take thirteen, and be cold."""
        await create_schema(self.driver, self._database)
        await self.ask(_EMPTY)

    async def fill(self, messages: Sequence[Message], *, load: str) -> None:
        """Store records, by graphinator's own sink."""
        stage = self._stage
        neo4j = Neo4jSettings(
            uri=stage.neo4j_uri,
            username=stage.neo4j_username,
            password=SecretStr(stage.neo4j_password),
            database=stage.neo4j_database,
        )
        async with open_store(GraphinatorSettings(neo4j=neo4j)) as store:
            sink, project = store.sink(KIND), store.projection(KIND)
            for start in range(0, len(messages), _BATCH):
                batch = messages[start : start + _BATCH]
                await sink.write([_projected(each, project, load) for each in batch])

    async def ask(self, statement: LiteralString, **parameters: Any) -> list[list[Any]]:
        """Run a statement outside of a transaction of ours. Returns: its rows."""
        async with self.driver.session(database=self._database) as session:
            result = await session.run(statement, parameters)
            return [list(row.values()) async for row in result]

    async def count(self) -> int:
        """How many releases there are, which costs Neo4j no look at them."""
        [[count]] = await self.ask("MATCH (n:Release) RETURN count(n)")
        return int(count)

    async def has(self, message: Message) -> bool:
        """Whether a record is stored in this version."""
        rows = await self.ask("MATCH (n:Release {id: $id}) RETURN n.hash", id=message.id)
        return any((row[0] or "").startswith(message.sha256) for row in rows)

    async def compare(self, expected: Carried) -> None:
        """See that the graph holds these records and nothing else. Raises: WrongStore."""
        counts = await self.ask("MATCH (n) RETURN labels(n)[0], count(*)")
        nodes = {label: count for label, count in counts if not label.startswith("Spindle")}  # the ledger's
        if nodes != dict(expected.node_counts):
            raise WrongStore(f"nodes are {nodes}, not {dict(expected.node_counts)}")
        rows = await self.ask("MATCH (a)-[e]->(b) RETURN labels(a)[0], type(e), labels(b)[0], count(*)")
        edges = {(start, name, end): count for start, name, end, count in rows}
        if edges != dict(expected.edge_counts):
            raise WrongStore(f"edges are {edges}, not {dict(expected.edge_counts)}")
        await self._compare_samples(expected)

    async def _compare_samples(self, expected: Carried) -> None:
        for position in range(0, len(expected), max(1, len(expected) // _SAMPLES)):
            message, node = expected.messages[position], expected.nodes[position]
            [[properties]] = await self.ask("MATCH (n:Release {id: $id}) RETURN properties(n)", id=message.id)
            wanted = {"id": message.id, "load": self._stage.load.date, **node.properties}
            if not str(properties.pop("hash")).startswith(message.sha256) or properties != wanted:
                raise WrongStore(f"release {message.id} is {properties}, not {wanted}")
            ends = await self.ask(
                "MATCH (n:Release {id: $id})-[e]-(t) RETURN type(e), labels(t)[0], coalesce(t.id, t.name),"
                " coalesce(e.catno, e.role, '')",
                id=message.id,
            )
            must = [
                [name[1], other_end(name), *end] for name, each in zip(EDGES, node.edges, strict=True) for end in each
            ]
            if sorted(ends) != sorted(must):
                raise WrongStore(f"release {message.id} has the edges {sorted(ends)}, not {sorted(must)}")


def _projected(message: Message, project: Projection[DecodedRecord], load: str) -> DecodedRecord:
    delivery = Delivery(1, Epoch(1), message.body, 0.0, load, None, 0, Properties)
    return project.make(project.read(message.body), delivery, message.id)


class GraphCourse:
    """A race of a graph consumer. It starts when the record at `start` is stored and ends with the last.

    `counted`: every record makes a node, so that start and finish are exact; else the records at both marks have to do.
    """

    def __init__(self, graph: Graph, messages: Sequence[Message], *, start: int, counted: bool = True) -> None:
        self._graph, self._messages, self._start, self._counted = graph, messages, start, counted

    @property
    def records(self) -> int:
        """How many there are."""
        return len(self._messages)

    async def passed_start(self) -> int | None:
        """How many are stored once the first mark is passed."""
        if self._counted:
            stored = await self._graph.count()
            return stored if stored > self._start else None
        return self._start + 1 if await self._graph.has(self._messages[self._start]) else None

    async def passed_finish(self) -> bool | None:
        """True once all are stored."""
        if self._counted:
            return await self._graph.count() >= len(self._messages) or None
        return await self._graph.has(self._messages[-1]) or None
