"""The Cypher of one kind, generated from the model: what needs work, and doing it.

One map of flat lists goes in and one row comes out: a driver's object per row, and a map per row, cost the client more
than everything else. Every look-up is a seek in a unique index, also on an empty database, and no node is sought twice:
edges are created between positions in the lists of what was found.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from common.delivery import LOAD_PATTERN
from graphinator.model import NODES, Edge, Node, edges_of, node_of, targets_of
from graphinator.notes import IN_BATCH

# Planning `store` takes a server 0.2 s, and by default it plans again whenever the graph has grown, as it does in every
# load. There is nothing to choose again: each look-up is a seek, however many nodes there are.
# The language is said because a database made by Neo4j 2026 takes a statement that doesn't say it for Cypher 25.
_PLANNED_ONCE = "CYPHER 5 replan=skip\n"

# A record is new if it is absent or a stub. The hash decides before the version: an unchanged record is not stale. What
# is no day orders nothing: an older version of ours has stored such.
_VERDICT = """\
WITH {carried}i, n.hash AS hash, n.load AS load
WITH {carried}i, CASE
  WHEN hash IS NULL THEN 'new'
  WHEN hash = $batch.hashes[i] AND hash <> '' THEN 'unchanged'
  WHEN $batch.loads[i] < load AND load =~ '{pattern}' THEN 'stale'
  ELSE 'changed'
END AS verdict
RETURN {returned}collect(CASE verdict WHEN 'new' THEN i END) AS new,
       collect(CASE verdict WHEN 'changed' THEN i END) AS changed,
       collect(CASE verdict WHEN 'stale' THEN i END) AS stale"""


@dataclass(frozen=True, slots=True)
class Statements:
    """One kind's statements.

    `$batch` is a map of what `parameters.py` makes. `look_up` takes ids, hashes and loads of it, and returns three
    lists of positions: new, changed, stale; the rest is unchanged.
    `store` takes all, makes what is missing, own nodes and targets', locks the own ones until the end of the
    transaction and judges as `look_up` does, now for certain; then it sets the properties of the new and the changed
    ones, replaces the edges that they own, and adds to the ledger what `$batch.notes` says and what it has done.
    `hold($id)` locks a stored record and returns its hash and load; no row if there is none.
    """

    look_up: str
    store: str
    hold: str


def statements_of(kind: str) -> Statements:
    """Generate a kind's statements."""
    node = node_of(kind)
    return Statements(look_up=_look_up(node), store=_store(kind, node), hold=_hold(node))


def _look_up(node: Node) -> str:
    return f"""\
{_PLANNED_ONCE}UNWIND range(0, size($batch.ids) - 1) AS i
OPTIONAL MATCH (n:{node.label} {{{node.key}: $batch.ids[i]}})
{_verdict(carried="", returned="")}"""


def _verdict(*, carried: str, returned: str) -> str:
    return _VERDICT.format(carried=carried, returned=returned, pattern=LOAD_PATTERN)


def _store(kind: str, own: Node) -> str:
    """One block per label, in the order of the model, so that two transactions don't wait for each other crosswise."""
    targets = [node for node, _ in targets_of(kind)]
    blocks = []
    for node in NODES:
        if node in targets:
            blocks.append(_make(node))
        if node == own:
            blocks.append(_lock(node))
    blocks += [_forget(pattern) for pattern in owned_patterns(kind)]
    blocks.append(_set_properties(own))
    blocks += [_create(edge, place) for place, edge in enumerate(edges_of(kind))]
    return _PLANNED_ONCE + "\n".join([*blocks, IN_BATCH, "RETURN new, changed, stale"])


def _make(node: Node) -> str:
    merge = f"MERGE (t:{node.label} {{{node.key}: x}})"
    return f"CALL () {{ UNWIND $batch.{node.label} AS x {merge} RETURN collect(t) AS {_list_of(node.label)} }}"


def _lock(node: Node) -> str:
    # Setting a property takes the node's write lock, which lasts as long as the transaction; a null on a node without
    # the property would not. What this transaction has made itself nobody else can see. What is read afterwards is
    # what the last holder has committed: `collect` keeps the two apart.
    verdict = _verdict(
        carried="n, ",
        returned="collect(n) AS own, collect(verdict IN ['new', 'changed']) AS works,\n       ",
    )
    return f"""\
CALL () {{
UNWIND range(0, size($batch.ids) - 1) AS i
MERGE (n:{node.label} {{{node.key}: $batch.ids[i]}})
ON MATCH SET n.locked = true
REMOVE n.locked
WITH collect([i, n]) AS locked
UNWIND locked AS pair
WITH pair[0] AS i, pair[1] AS n
{verdict}
}}"""


def owned_patterns(kind: str) -> Iterator[str]:
    """The patterns of the edges that `n` owns."""
    for outgoing, pattern in ((True, "(n)-[e:{}]->()"), (False, "(n)<-[e:{}]-()")):
        types = sorted({edge.type for edge in edges_of(kind) if edge.outgoing is outgoing})
        if types:
            yield pattern.format("|".join(types))


def _forget(pattern: str) -> str:
    # New ones too: if another writer has filled the graph, a node without a hash owns edges already. A stub
    # that we have made owns none, and a node that has just been made has no edges at all.
    return f"CALL (own, new, changed) {{ UNWIND new + changed AS i WITH own[i] AS n MATCH {pattern} DELETE e }}"


def _set_properties(node: Node) -> str:
    # `=` and not `+=`: what an older model has set goes.
    columns = [node.key, "hash", "load", *(each.name for each in node.properties)]
    properties = ", ".join(f"{name}: row[{column}]" for column, name in enumerate(columns))
    rows = "UNWIND new + changed AS i WITH own[i] AS n, $batch.rows[i] AS row"
    return f"CALL (own, new, changed) {{ {rows} SET n = {{{properties}}} }}"


def _create(edge: Edge, place: int) -> str:
    """One sort of edges: `from<place>` and `to<place>` are positions, `by<place>` its property if it has one."""
    properties = f" {{{edge.key}: $batch.by{place}[k]}}" if edge.key else ""
    relation = f"[:{edge.type}{properties}]"
    arrow = f"(n)-{relation}->(t)" if edge.outgoing else f"(n)<-{relation}-(t)"
    targets = _list_of(edge.target)
    return (
        f"CALL (own, works, {targets}) {{ UNWIND range(0, size($batch.from{place}) - 1) AS k "
        f"WITH k, $batch.from{place}[k] AS i WHERE works[i] "
        f"WITH k, own[i] AS n, {targets}[$batch.to{place}[k]] AS t CREATE {arrow} }}"
    )


def _list_of(label: str) -> str:
    return f"all{label}"


def _hold(node: Node) -> str:
    return f"""\
{_PLANNED_ONCE}MATCH (n:{node.label} {{{node.key}: $id}})
SET n.locked = true REMOVE n.locked
WITH collect(n) AS locked
UNWIND locked AS n
RETURN n.hash AS hash, n.load AS load"""
