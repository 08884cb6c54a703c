"""A service with its store, as a test sees them: where it is, how much is in it, and what of a load is wrong there."""

import asyncio
from contextlib import suppress
from typing import Any, Protocol

from pydantic import SecretStr

from common.errors import StoreUnavailable, WriteConflict
from common.kinds import KINDS, Service
from extractor.loads import Load
from graphinator.ops.reader import open_reader
from graphinator.settings import Neo4jSettings
from spindle.verification.findings import StoreFindings
from spindle.verification.graph import compare_graph
from spindle.verification.tables import compare_table
from tableinator.ops.reader import count_rows
from tableinator.settings import PostgresSettings
from tests.e2e.loads import expectation_of
from tests.integration import graphs, tables

ANSWER_LIMIT = 60.0  # seconds that a store may take for its first write

_RELEASE: dict[str, Any] = {
    "title": "A title",
    "master_id": "999999991",
    "artists": [{"id": "999999992", "name": "A"}],
    "labels": [{"id": "999999993", "catno": "C"}],
    "extraartists": [{"id": "999999994", "role": "Producer"}],
    "genres": ["Answering"],
    "styles": ["Answering"],
}
"""With an edge of every sort, to nodes that no load has."""


class Side(Protocol):
    """One service and its store."""

    service: Service
    store: str
    """The store's name in readiness and logs."""

    @property
    def environment(self) -> dict[str, str]:
        """What leads the service to its store."""

    async def stored(self) -> int:
        """How many records the store holds."""

    async def has(self, kind: str, record_id: str) -> bool:
        """Whether the store holds this record."""

    async def compare(self, load: Load, kind: str) -> StoreFindings:
        """Compare a kind with what the load has of it."""

    async def write_past_the_service(self) -> None:
        """Have the store do what the service asks of it, and change nothing: when this returns, it answers."""


class Tables:
    """tableinator and PostgreSQL."""

    service = Service.TABLEINATOR
    store = "PostgreSQL"

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self.settings = PostgresSettings(dsn=SecretStr(dsn))

    @property
    def environment(self) -> dict[str, str]:
        """What leads the service to its store."""
        return {"POSTGRES_DSN": self.dsn}

    async def stored(self) -> int:
        """How many rows there are."""
        return sum((await count_rows(self.settings, KINDS)).values())

    async def has(self, kind: str, record_id: str) -> bool:
        """Whether there is such a row."""
        return bool(await tables.fetch(self.dsn, f"SELECT 1 FROM {kind} WHERE data_id = $1", record_id))

    async def compare(self, load: Load, kind: str) -> StoreFindings:
        """Compare the table, by hashes taken again of what is stored."""
        return await compare_table(expectation_of(load, kind), self.settings)

    async def write_past_the_service(self) -> None:
        """Make a table and remove it."""
        await tables.run(self.dsn, "CREATE TABLE answering (yes int)", "DROP TABLE answering")


class Graph:
    """graphinator and Neo4j."""

    service = Service.GRAPHINATOR
    store = "Neo4j"

    def __init__(self, server: Any) -> None:
        self.server = server
        self.settings: Neo4jSettings = graphs.settings(server).neo4j

    @property
    def environment(self) -> dict[str, str]:
        """What leads the service to its store."""
        return {
            "NEO4J_URI": self.server.uri,
            "NEO4J_USERNAME": self.server.username,
            "NEO4J_PASSWORD": self.server.password,
            "NEO4J_DATABASE": self.server.database,
        }

    async def stored(self) -> int:
        """How many nodes a record has filled."""
        [[filled]] = await graphs.fetch(self.server, "MATCH (n) RETURN count(n.hash)")
        return int(filled)

    async def has(self, kind: str, record_id: str) -> bool:
        """Whether a record has filled this node."""
        label = kind.removesuffix("s").capitalize()
        statement = f"MATCH (n:{label} {{id: $id}}) WHERE n.hash IS NOT NULL RETURN 1"
        return bool(await graphs.fetch(self.server, statement, id=record_id))

    async def compare(self, load: Load, kind: str) -> StoreFindings:
        """Compare nodes, properties and edges."""
        async with open_reader(self.settings) as reader:
            return (await compare_graph(expectation_of(load, kind), reader))[0]

    async def write_past_the_service(self) -> None:
        """Write a release as the service does, and roll back: a cold Neo4j plans the statement for seconds."""
        release = graphs.record("releases", "999999999", **_RELEASE)
        async with graphs.driver(self.server) as direct:
            sink = graphs.graph_sink("releases", direct, self.server)
            async with asyncio.timeout(ANSWER_LIMIT):
                while True:
                    with suppress(StoreUnavailable, WriteConflict):
                        return await sink.probe(release)
                    await asyncio.sleep(0.1)


async def problems(side: Side, load: Load) -> dict[str, tuple[int, list[str]]]:
    """Everything that is wrong in a side's store, by kind and sort; and any record too few."""
    wrong: dict[str, tuple[int, list[str]]] = {}
    for kind in load.kinds:
        found = await side.compare(load, kind)
        wrong |= {
            f"{found.store} {kind} {name}": (finding.count, finding.examples)
            for name, finding in found.problems()
            if finding.count
        }
        if found.agreeing != found.expected:
            wrong[f"{found.store} {kind} agreeing"] = (found.agreeing, [f"of {found.expected}"])
    return wrong
