"""Neo4j for the tests of graphinator: stores on it, records of the wire format, and a look past the sink."""

import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

from neo4j import AsyncDriver, AsyncGraphDatabase
from pydantic import SecretStr

from common.delivery import Delivery, Epoch, Properties
from graphinator.projection import GraphRecord, projection_of, read
from graphinator.settings import GraphinatorSettings, Neo4jSettings
from graphinator.sink import GraphSink
from graphinator.store import GraphStore, open_store
from graphinator.transactions import Transactions

LOAD = "20250201"


def settings(server: Any, *, port: int | None = None, **neo4j: Any) -> GraphinatorSettings:
    """Settings for a store on this server, or on a proxy's port."""
    uri = server.uri if port is None else f"bolt://127.0.0.1:{port}"
    password = SecretStr(neo4j.pop("password", server.password))
    given = {"uri": uri, "username": server.username, "password": password, "database": server.database} | neo4j
    return GraphinatorSettings(neo4j=Neo4jSettings(**given))


def address(server: Any) -> tuple[str, int]:
    """Host and port of a server."""
    parts = urlsplit(server.uri)
    return parts.hostname or "127.0.0.1", parts.port or 7687


@asynccontextmanager
async def opened(server: Any, *, port: int | None = None, **neo4j: Any) -> AsyncIterator[GraphStore]:
    """A store on this server, as the service opens it."""
    async with open_store(settings(server, port=port, **neo4j)) as store:
        yield store


@asynccontextmanager
async def driver(server: Any) -> AsyncIterator[AsyncDriver]:
    """A driver past the store."""
    async with AsyncGraphDatabase.driver(server.uri, auth=(server.username, server.password)) as opened_driver:
        yield opened_driver


async def fetch(server: Any, statement: str, **parameters: Any) -> list[list[Any]]:
    """Ask the database past the store; rows as lists."""
    async with driver(server) as direct, direct.session(database=server.database) as session:
        result = await session.run(statement, parameters)
        return [list(record.values()) async for record in result]


async def edges(server: Any) -> list[str]:
    """Every edge of the graph as `Release 1 -ON {catno: C1}-> Label 5`, sorted; keys without quotes."""
    rows = await fetch(
        server,
        "MATCH (a)-[e]->(b) RETURN labels(a)[0], coalesce(a.id, a.name), type(e), properties(e),"
        " labels(b)[0], coalesce(b.id, b.name)",
    )
    return sorted(
        f"{start} {start_key} -{type_}{_shown(properties)}-> {end} {end_key}"
        for start, start_key, type_, properties, end, end_key in rows
    )


async def nodes(server: Any, label: str) -> dict[str, dict[str, Any]]:
    """Every node of a label with its properties, by key."""
    rows = await fetch(server, f"MATCH (n:{label}) RETURN coalesce(n.id, n.name), properties(n)")
    return dict(rows)


def graph_sink(kind: str, direct: AsyncDriver, server: Any, **limits: Any) -> GraphSink:
    """A sink with limits of its own, on a driver of the test's."""
    given = {"connect_timeout": 10.0, "transaction_timeout": 30.0} | limits
    return GraphSink(kind, Transactions(direct, database=server.database, **given))


def record(
    kind: str, record_id: str, *, load: str | None = LOAD, sha256: str | None = None, **fields: Any
) -> GraphRecord:
    """Project a message of these fields, with its true hash unless one is given."""
    body = {"id": record_id, **fields}
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    sha = hashlib.sha256(text.encode()).hexdigest() if sha256 is None else sha256
    message = json.dumps({"type": "data", "sha256": sha, **body}).encode()
    return project(kind, message, record_id, sha256=sha, load=load)


def project(
    kind: str, body: bytes, record_id: str = "1", *, sha256: Any = "a hash", load: str | None = LOAD
) -> GraphRecord:
    """Project a message's body."""
    delivery = Delivery(1, Epoch(1), body, 0.0, load, None, 0, Properties)
    projection = projection_of(kind)
    envelope = projection.read(body)
    envelope.sha256 = sha256
    return read(projection.make(envelope, delivery, record_id))


def _shown(properties: dict[str, Any]) -> str:
    return f" {{{', '.join(f'{key}: {value}' for key, value in sorted(properties.items()))}}}" if properties else ""
