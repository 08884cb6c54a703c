"""Remove nodes that a load no longer has, into `:SpindleRemoved`, from which they can be brought back.

A removed node's own edges go with it. If others' edges lead to it, or from it, it stays as a stub with those: no edge
goes but those that the removed record owns. What it named, and nobody names any more, goes in the same transaction.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeVar

import msgspec
from neo4j import AsyncTransaction
from neo4j.exceptions import DriverError, Neo4jError

from common.errors import StartRefused, WriteConflict
from graphinator.classification import classify
from graphinator.ledger import REMOVED
from graphinator.model import MODEL_VERSION, edges_of, node_labelled, node_of, targets_of
from graphinator.ops.reader import StoredRecord, collect_edge, columns_of, stored_record
from graphinator.projection import GraphRecord
from graphinator.sink import GraphSink
from graphinator.statements import owned_patterns
from graphinator.transactions import Transactions

T = TypeVar("T")

AT_A_TIME: Final = 500
"""Nodes of one transaction."""

KEPT: Final = 3
"""Loads whose removed nodes are kept."""

_ATTEMPTS: Final = 10

_ARCHIVE: Final = f"""\
CYPHER 5 UNWIND $rows AS row MERGE (r:{REMOVED.label} {{{REMOVED.key}: row.key}})
SET r += row, r.removed_at = datetime()"""

_ARCHIVED: Final = f"""\
CYPHER 5 MATCH (r:{REMOVED.label}) WHERE r.{REMOVED.key} > $behind AND r.{REMOVED.key} STARTS WITH $prefix
RETURN r.{REMOVED.key} AS key, r.id AS id, r.hash AS hash, r.version AS version, r.record AS record, r.model AS model
ORDER BY key LIMIT $size"""

_PRUNE: Final = f"""\
CYPHER 5 MATCH (r:{REMOVED.label} {{kind: $kind}}) WITH DISTINCT r.load AS load ORDER BY load DESC SKIP $kept
WITH collect(load) AS old MATCH (r:{REMOVED.label} {{kind: $kind}}) WHERE r.load IN old DELETE r"""


class GraphRemoval:
    """Removes and brings back what was removed."""

    store: Final = "neo4j"

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    async def remove(self, kind: str, load: str, ids: Sequence[str]) -> int:
        """Remove those of these ids that no later load has stored. Returns: how many that were.

        Raises: a SinkError.
        """
        return await self._transact(partial(_remove, kind, load, sorted(ids)))

    async def restore(self, kind: str, load: str) -> int:
        """Write back what a load's removal has taken, where nothing newer is stored. Returns: how many that were.

        Raises: a SinkError; StartRefused if it was taken out of another model's graph.
        """
        sink, restored = GraphSink(kind, self._transactions), 0
        async for records in self._archived(kind, load):
            outcomes = await sink.write(records)
            restored += outcomes.new + outcomes.changed
        return restored

    async def count_archived(self, kind: str, load: str) -> int:
        """How many nodes a load's removal has taken.

        Raises: a SinkError.
        """
        statement = f"CYPHER 5 MATCH (r:{REMOVED.label}) WHERE r.{REMOVED.key} STARTS WITH $prefix RETURN count(r) AS n"
        [row] = await self._ask(statement, {"prefix": _prefix(kind, load)})
        return int(row["n"])

    async def prune(self, kind: str) -> None:
        """Forget what was removed before the last three loads that removed anything.

        Raises: a SinkError.
        """
        await self._ask(_PRUNE, {"kind": kind, "kept": KEPT})

    async def _archived(self, kind: str, load: str) -> AsyncIterator[list[GraphRecord]]:
        behind = ""
        while True:
            parameters = {"behind": behind, "prefix": _prefix(kind, load), "size": AT_A_TIME}
            rows = await self._ask(_ARCHIVED, parameters)
            if not rows:
                return
            yield [_record(kind, row) for row in rows]
            behind = rows[-1]["key"]

    async def _ask(self, statement: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
        async def work(transaction: AsyncTransaction) -> list[dict[str, Any]]:
            rows = await _run(transaction, statement, parameters)
            await transaction.commit()
            return rows

        return await self._transact(work)

    async def _transact(self, work: Callable[[AsyncTransaction], Awaitable[T]]) -> T:
        """Run, and again where another writer was in the way: services write meanwhile."""
        for attempt in range(_ATTEMPTS):
            try:
                return await self._transactions.run(work)
            except (Neo4jError, DriverError, OSError) as error:
                meaning = classify(error)
                if not isinstance(meaning, WriteConflict) or attempt == _ATTEMPTS - 1:
                    raise meaning from error
        raise AssertionError("unreachable")


def lock_statement(kind: str) -> str:
    """Lock nodes, judge them again, and return what is to be removed, edges included."""
    node, edges = node_of(kind), edges_of(kind)
    names = [f"e{position}" for position in range(len(edges))]
    return "\n".join(
        [
            f"CYPHER 5 UNWIND $ids AS x MATCH (n:{node.label} {{{node.key}: x}})",
            "SET n.locked = true REMOVE n.locked",
            "WITH collect(n) AS locked UNWIND locked AS n",
            "WITH n WHERE n.hash IS NOT NULL AND (n.load IS NULL OR n.load <= $load)",
            *(collect_edge(edge, name) for edge, name in zip(edges, names, strict=True)),
            f"RETURN [{', '.join([*columns_of(kind), *names])}] AS row",
        ]
    )


def forget_statement(kind: str) -> str:
    """Delete the edges that nodes own, and their properties: what is left is a stub."""
    node = node_of(kind)
    forget = [f"CALL (n) {{ MATCH {pattern} DELETE e }}" for pattern in owned_patterns(kind)]
    own = f"UNWIND $ids AS x MATCH (n:{node.label} {{{node.key}: x}})"
    return "\n".join([f"CYPHER 5 {own}", *forget, f"SET n = {{{node.key}: x}}"])


def sweep_statement(label: str) -> str:
    """Delete those of these nodes that no record fills and no edge leads to."""
    node = node_labelled(label)
    own = f"UNWIND $keys AS x MATCH (t:{label} {{{node.key}: x}})"
    return f"CYPHER 5 {own} WITH DISTINCT t WHERE t.hash IS NULL AND NOT EXISTS {{ (t)--() }} DELETE t"


async def _remove(kind: str, load: str, ids: list[str], transaction: AsyncTransaction) -> int:
    rows = await _run(transaction, lock_statement(kind), {"ids": ids, "load": load})
    records = [stored_record(kind, row["row"]) for row in rows]
    if records:
        removed = [record.id for record in records]
        await _run(transaction, _ARCHIVE, {"rows": [_archive(kind, load, record) for record in records]})
        await _run(transaction, forget_statement(kind), {"ids": removed})
        for label, keys in _named_by(kind, records).items():
            await _run(transaction, sweep_statement(label), {"keys": keys})
    await transaction.commit()
    return len(records)


def _named_by(kind: str, records: Sequence[StoredRecord]) -> dict[str, list[str]]:
    """By label the keys of what these records are and name: sorted, so that two transactions lock in one order."""
    keys: dict[str, set[str]] = {node_of(kind).label: {record.id for record in records}}
    edges = edges_of(kind)
    for node, positions in targets_of(kind):
        found = keys.setdefault(node.label, set())
        for position in positions:
            for record in records:
                found.update(end if edges[position].key is None else end[0] for end in record.edges[position])
    return {label: sorted(found) for label, found in sorted(keys.items())}


def _archive(kind: str, load: str, record: StoredRecord) -> dict[str, Any]:
    return {
        "key": f"{_prefix(kind, load)}{record.id}",
        "kind": kind,
        "load": load,
        "id": record.id,
        "hash": record.hash,
        "version": record.version,
        "model": MODEL_VERSION,
        "record": msgspec.json.encode([record.properties, record.edges]).decode(),
    }


def _record(kind: str, row: Mapping[str, Any]) -> GraphRecord:
    if row["model"] != MODEL_VERSION:
        raise StartRefused(
            f"Neo4j: {kind} {row['id']} was removed from a graph of model {row['model']}, and this is model "
            f"{MODEL_VERSION}: bring it back from the tables instead."
        )
    properties, edges = msgspec.json.decode(row["record"])
    return GraphRecord(row["id"], row["hash"], row["version"], properties, edges)


def _prefix(kind: str, load: str) -> str:
    return f"{kind} {load} "


async def _run(transaction: AsyncTransaction, statement: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
    # The text is generated from the model, never from a value.
    result = await transaction.run(statement, dict(parameters))
    return [dict(record) async for record in result]
