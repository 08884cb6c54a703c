"""Read the graph back, to verify it: records with their properties and edges, in the shapes of a projection.

Page by page along the unique index: memory is bounded by a page, no transaction lasts longer than one, and a page that
failed can be asked for again. What a page shows is the graph of its moment, not of one moment for all.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from graphinator.model import Edge, edges_of, node_labelled, node_of
from graphinator.ops.asking import GraphQuestions
from graphinator.ops.foreign import NUMBERS
from graphinator.settings import Neo4jSettings
from graphinator.store import open_driver

_KEYS = 10_000  # ids

_UNIQUE = """
CYPHER 5 SHOW CONSTRAINTS YIELD type, labelsOrTypes, properties
WHERE type IN ["UNIQUENESS", "NODE_KEY"] AND labelsOrTypes = [$label] AND properties = [$key] RETURN type
"""

_PAGE = 2000  # records; the largest known, with 2,500 credits, makes a page of some megabytes at the most


class StoredRecord(msgspec.Struct, frozen=True):
    """One node of a kind. `hash` is None for a stub; `properties` and `edges` are comparable with a `GraphRecord`'s."""

    id: str
    hash: str | None
    version: str | None
    properties: list[Any]
    edges: list[list[Any]]


class GraphReader(GraphQuestions):
    """The records of one graph."""

    async def records(self, kind: str, *, page: int = _PAGE) -> AsyncIterator[list[StoredRecord]]:
        """Every node of a kind in the order of their ids, a page at a time, stubs included.

        Raises: a SinkError if the graph can't be read.
        """
        statement = page_statement(kind)
        after = ""
        while rows := (await self._ask(statement, {"after": after, "page": page}))[0]["page"]:
            yield [stored_record(kind, row) for row in rows]
            after = rows[-1][0]

    async def records_of(self, kind: str, ids: Sequence[str]) -> list[StoredRecord]:
        """The nodes of these ids, in the order of their ids, stubs included; several where a key is there twice.

        Raises: a SinkError where the graph can't be read.
        """
        rows = await self._ask(records_statement(kind), {"ids": list(ids)})
        return [stored_record(kind, row["row"]) for row in rows]

    async def keys(self, kind: str, *, page: int = _KEYS) -> AsyncIterator[list[str]]:
        """The ids of all nodes of a kind, each once, in their order, a page at a time.

        Raises: a SinkError where the graph can't be read.
        """
        node = node_of(kind)
        statement = (
            f"CYPHER 5 MATCH (n:{node.label}) WHERE n.{node.key} > $after WITH n.{node.key} AS key "
            "ORDER BY key LIMIT $page RETURN collect(DISTINCT key) AS keys"
        )
        after = ""
        while keys := (await self._ask(statement, {"after": after, "page": page}))[0]["keys"]:
            yield keys
            after = keys[-1]

    async def doubled(self, label: str, examples: int) -> tuple[int, list[str]]:
        """How many nodes of a label have a key that another has, beyond the first of each, and the first such keys.

        Where the constraint is there, none can be, and none is looked for; where not, there is no index either.
        Raises: a SinkError if the graph can't be read.
        """
        node = node_labelled(label)
        if await self._ask(_UNIQUE, {"label": label, "key": node.key}):
            return 0, []
        statement = (
            f"CYPHER 5 MATCH (n:{label}) WHERE n.{node.key} IS NOT NULL WITH n.{node.key} AS key, count(*) AS times "
            "WHERE times > 1 WITH key, times ORDER BY key "
            "RETURN sum(times - 1) AS more, collect(toString(key))[..$examples] AS keys"
        )
        [row] = await self._ask(statement, {"examples": examples})
        return row["more"], row["keys"]

    async def number_keys(self, label: str, examples: int) -> tuple[int, list[str]]:
        """How many nodes of a label have a number as their key, where ours have texts, and the first few of those.

        Raises: a SinkError if the graph can't be read.
        """
        key = node_labelled(label).key
        numbers = f"MATCH (n:{label}) WHERE {NUMBERS.format(key=key)}"
        count = await self._count(f"CYPHER 5 {numbers} RETURN count(n) AS count")
        statement = f"CYPHER 5 {numbers} RETURN toString(n.{key}) AS key ORDER BY n.{key} LIMIT $examples"
        return count, [row["key"] for row in await self._ask(statement, {"examples": examples})] if count else []

    async def edge_counts(self, kind: str) -> Mapping[tuple[str, bool], int]:
        """How many edges of the types that a kind owns are on its nodes' side, by type and whether they lead outward.

        From the store's own counts, whatever the size and whatever other labels the nodes have.
        Raises: a SinkError if the graph can't be read.
        """
        label = node_of(kind).label
        counts = {}
        for type_, outgoing in sorted({(edge.type, edge.outgoing) for edge in edges_of(kind)}):
            arrow = f"(:{label})-[e:{type_}]->()" if outgoing else f"(:{label})<-[e:{type_}]-()"
            counts[type_, outgoing] = await self._count(f"CYPHER 5 MATCH {arrow} RETURN count(e) AS count")
        return counts

    async def all_edges(self) -> int:
        """How many edges there are at all, of any type; from the store's own count.

        Raises: a SinkError if the graph can't be read.
        """
        return await self._count("CYPHER 5 MATCH ()-[e]->() RETURN count(e) AS count")

    async def _count(self, statement: str) -> int:
        return int((await self._ask(statement, {}))[0]["count"])


@asynccontextmanager
async def open_reader(settings: Neo4jSettings) -> AsyncIterator[GraphReader]:
    """Connect for reading; nothing is created, and nothing is waited for.

    Raises: StartRefused if the URI can't be one.
    """
    async with open_driver(settings) as driver:
        yield GraphReader(driver, settings)


def page_statement(kind: str) -> str:
    """The statement for one page of a kind: one row with a list of [key, hash, load, properties…, edges…].

    A page ends behind the last of several nodes with one key, which there are where the constraint is missing.
    """
    node = node_of(kind)
    columns = columns_of(kind)
    edges = edges_of(kind)
    after = f"MATCH (n:{node.label}) WHERE n.{node.key} > $after"
    return "\n".join(
        [
            f"CYPHER 5 {after} WITH n.{node.key} AS key ORDER BY key LIMIT $page WITH max(key) AS last",
            f"{after} AND n.{node.key} <= last WITH n",
            *(collect_edge(edge, f"e{position}") for position, edge in enumerate(edges)),
            f"WITH n, [{', '.join([*columns, *(f'e{position}' for position in range(len(edges)))])}] AS row",
            f"ORDER BY n.{node.key}",
            "RETURN collect(row) AS page",
        ]
    )


def records_statement(kind: str) -> str:
    """The statement for the nodes of some ids: a row for each node, in the shape of a page's."""
    node, edges = node_of(kind), edges_of(kind)
    names = [f"e{position}" for position in range(len(edges))]
    return "\n".join(
        [
            f"CYPHER 5 UNWIND $ids AS x MATCH (n:{node.label} {{{node.key}: x}})",
            *(collect_edge(edge, name) for edge, name in zip(edges, names, strict=True)),
            f"RETURN [{', '.join([*columns_of(kind), *names])}] AS row ORDER BY n.{node.key}",
        ]
    )


def columns_of(kind: str) -> list[str]:
    """What a statement returns of `n` before its edges."""
    node = node_of(kind)
    return [f"n.{name}" for name in (node.key, "hash", "load", *(each.name for each in node.properties))]


def collect_edge(edge: Edge, name: str) -> str:
    """The part of a statement that lists one sort of `n`'s edges as `name`."""
    target = node_labelled(edge.target)
    item = f"[t.{target.key}, e.{edge.key}]" if edge.key else f"t.{target.key}"
    arrow = f"(n)-[e:{edge.type}]->(t:{target.label})" if edge.outgoing else f"(n)<-[e:{edge.type}]-(t:{target.label})"
    return f"CALL (n) {{ MATCH {arrow} RETURN collect({item}) AS {name} }}"


def stored_record(kind: str, row: list[Any]) -> StoredRecord:
    """A record from the columns that `columns_of` names, and its edges."""
    first_edge = 3 + len(node_of(kind).properties)
    edges = [sorted(targets, key=_order) for targets in row[first_edge:]]
    return StoredRecord(row[0], row[1], row[2], row[3:first_edge], edges)


def _order(target: Any) -> Any:
    """Targets sort as a projection's do; what somebody else has written may lack a key or a property."""
    return target if isinstance(target, str) else [value or "" for value in target]
