"""Find the nodes that another writer has made: beside one whose key is no text a load makes a second one.

A graph may hold 20 million nodes: of each label only the first few thousand are looked at, and the numbers among its
keys, which its unique index has side by side.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from neo4j import AsyncSession, AsyncTransaction

from common.ops.checks import Check, Findings
from graphinator.model import NODES, Node
from graphinator.schema import missing_constraints

LOOKED_AT: Final = 10_000
"""Nodes of one label, the first that the store has."""

NUMBERS: Final = "n.{key} >= -Infinity"
"""Holds for each number, and a unique index seeks it."""

_NAME: Final = "other writers"

_AS_TEXT: Final = (
    "CYPHER 5 MATCH (n:{label}) WHERE n.{key} IS :: INTEGER NOT NULL "
    "CALL (n) {{ SET n.{key} = toString(n.{key}) }} IN TRANSACTIONS OF 5000 ROWS"
)


@dataclass(frozen=True, slots=True)
class Foreign:
    """Another writer's nodes of one label, as far as was looked; `example` is a key, "" if the node has none."""

    node: Node
    count: int
    example: str

    def __str__(self) -> str:
        more = " or more" if self.count >= LOOKED_AT else ""
        example = f"such as {self.example}" if self.example else f"such as one without {self.node.key}"
        return f"{self.count:,}{more} {self.node.label} ({example})"


async def foreign_nodes(session: AsyncSession, timeout: float, found: Findings) -> Check:
    """Look for another writer's nodes; `timeout`: seconds, set on the server too."""
    unfit, unmarked = [], []
    async with await session.begin_transaction(timeout=timeout) as transaction:
        without_index = await missing_constraints(transaction)
        for node in NODES:
            counts = await _look(transaction, node)
            if node not in without_index:  # else this would read every node of the label
                counts[0] = max(counts[0], await _numbers(transaction, node), key=lambda each: each.count)
            unfit.append(counts[0])
            unmarked.append(counts[1])
        await transaction.rollback()
    return check_of([each for each in unfit if each.count], [each for each in unmarked if each.count], found)


def check_of(unfit: Sequence[Foreign], unmarked: Sequence[Foreign], found: Findings) -> Check:
    """What is to be done about nodes with a key that is no text, and about others that we have not filled. Pure."""
    bound = f"Looked at: the first {LOOKED_AT:,} nodes of each label."
    taken = (
        f"Another writer's nodes are {_list(unmarked)}: a load takes them over, which replaces their properties and "
        "the edges of our types that they own. Stop the other writer before, and keep a dump of the graph."
    )
    if unfit:
        node = unfit[0].node
        doubled = (
            f"Another writer's nodes are {_list(unfit)}: their keys are no text, and a load makes a second node beside "
            "each. Stop the other writer, and load into an empty graph, or make the keys text before graphinator has "
            f"stored any: {_AS_TEXT.format(label=node.label, key=node.key)}."
        )
        return found.failed(_NAME, " ".join([doubled, taken, bound] if unmarked else [doubled, bound]))
    if unmarked:
        return found.warning(_NAME, f"{taken} {bound}")
    return found.ok(_NAME, f"No node of theirs was found. {bound}")


def _list(foreign: Sequence[Foreign]) -> str:
    return ", ".join(map(str, foreign))


async def _look(transaction: AsyncTransaction, node: Node) -> list[Foreign]:
    """Of the first nodes those whose key is no text, and those of records that we have not filled."""
    result = await transaction.run(_statement(node), most=LOOKED_AT)
    row = await result.single(strict=True)
    return [
        Foreign(node, row["unfit"], row["unfit_example"] or ""),
        Foreign(node, row["unmarked"], row["unmarked_example"] or ""),
    ]


async def _numbers(transaction: AsyncTransaction, node: Node) -> Foreign:
    is_number = NUMBERS.format(key=node.key)
    result = await transaction.run(
        f"CYPHER 5 MATCH (n:{node.label}) WHERE {is_number} WITH n.{node.key} AS key LIMIT $most "
        "RETURN count(*) AS count, head(collect(toString(key))) AS example",
        most=LOOKED_AT,
    )
    row = await result.single(strict=True)
    return Foreign(node, row["count"], row["example"] or "")


def _statement(node: Node) -> str:
    # A stub of ours has its key alone, and our hash ends with the model's version. Nodes that only edges make get
    # nothing but their key from us: what else is on them stays.
    unmarked = "size(keys(n)) > 1 AND NOT coalesce(n.hash = '' OR n.hash CONTAINS ':', false)" if node.kind else "false"
    return f"""\
CYPHER 5 MATCH (n:{node.label}) WITH n LIMIT $most
WITH n.{node.key} AS key, n.{node.key} IS :: STRING NOT NULL AS fits, {unmarked} AS unmarked
WITH CASE WHEN fits THEN null ELSE left(coalesce(toStringOrNull(key), ''), 40) END AS unfit,
  CASE WHEN fits AND unmarked THEN left(key, 40) END AS unmarked
RETURN count(unfit) AS unfit, head(collect(unfit)) AS unfit_example,
  count(unmarked) AS unmarked, head(collect(unmarked)) AS unmarked_example"""
