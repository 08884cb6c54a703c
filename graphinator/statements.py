"""The Cypher of one kind, generated from the model: what needs work, lock, delete, write.

Flat or nested lists go in and at most one row comes out: a driver's object per row, and maps, cost the client more
than everything else. Every look-up is a seek in a unique index, also on an empty database.
"""

from dataclasses import dataclass

from graphinator.model import NODES, Edge, Node, edges_of, node_labelled, node_of, targets_of

# A record is new where it is absent or a stub. The hash decides before the version: an unchanged record is not stale.
_VERDICT = """\
WITH i, n.hash AS hash, n.load AS load
WITH i, CASE
  WHEN hash IS NULL THEN 'new'
  WHEN hash = $hashes[i] AND hash <> '' THEN 'unchanged'
  WHEN $loads[i] < load THEN 'stale'
  ELSE 'changed'
END AS verdict
RETURN collect(CASE verdict WHEN 'new' THEN i END) AS new,
       collect(CASE verdict WHEN 'changed' THEN i END) AS changed,
       collect(CASE verdict WHEN 'stale' THEN i END) AS stale"""


@dataclass(frozen=True, slots=True)
class Statements:
    """One kind's statements, in the order in which a transaction runs them.

    `look_up($ids, $hashes, $loads)` returns three lists of positions: new, changed, stale; the rest is unchanged.
    `lock($ids, $hashes, $loads, $<Label>…)` makes missing nodes, own and targets', locks the own ones until the end
    of the transaction and returns as `look_up` does, now for certain.
    `delete($ids)` removes the edges that these records own.
    `write($rows)` sets properties and creates edges, from rows as `row_of` in `sink.py` makes them.
    `hold($id)` locks a stored record and returns its hash and load; no row if there is none.
    """

    look_up: str
    lock: str
    delete: str
    write: str
    hold: str


def statements_of(kind: str) -> Statements:
    """Generate a kind's statements."""
    node = node_of(kind)
    return Statements(
        look_up=_look_up(node),
        lock=_lock(kind, node),
        delete=_delete(kind, node),
        write=_write(kind, node),
        hold=_hold(node),
    )


def _look_up(node: Node) -> str:
    return f"""\
UNWIND range(0, size($ids) - 1) AS i
OPTIONAL MATCH (n:{node.label} {{{node.key}: $ids[i]}})
{_VERDICT}"""


# Setting a property takes the node's write lock, which lasts as long as the transaction; a null on a node without the
# property would not. What is read afterwards is what the last holder has committed: `collect` keeps the two apart.
_LOCK = "SET n.locked = true REMOVE n.locked"


def _lock(kind: str, own: Node) -> str:
    """One block per label, in the order of the model, so that two transactions don't wait for each other crosswise."""
    targets = [node for node, _ in targets_of(kind)]
    blocks = []
    for node in NODES:
        if node in targets:
            blocks.append(f"CALL () {{ UNWIND ${node.label} AS x MERGE (:{node.label} {{{node.key}: x}}) }}")
        if node == own:
            blocks.append(_lock_own(node))
    return "\n".join([*blocks, "RETURN new, changed, stale"])


def _lock_own(node: Node) -> str:
    return f"""\
CALL () {{
UNWIND range(0, size($ids) - 1) AS i
MERGE (n:{node.label} {{{node.key}: $ids[i]}})
{_LOCK}
WITH collect([i, n]) AS locked
UNWIND locked AS pair
WITH pair[0] AS i, pair[1] AS n
{_VERDICT}
}}"""


def _delete(kind: str, node: Node) -> str:
    edges = edges_of(kind)
    blocks = []
    for outgoing, arrow in ((True, "(n)-[e:{}]->()"), (False, "(n)<-[e:{}]-()")):
        types = sorted({edge.type for edge in edges if edge.outgoing is outgoing})
        if types:
            blocks.append(f"CALL (n) {{ MATCH {arrow.format('|'.join(types))} DELETE e }}")
    return "\n".join([f"UNWIND $ids AS id MATCH (n:{node.label} {{{node.key}: id}})", *blocks])


def _write(kind: str, node: Node) -> str:
    # `=` and not `+=`: what an older model has set goes.
    columns = [node.key, "hash", "load", *(each.name for each in node.properties)]
    edges = edges_of(kind)
    properties = ", ".join(f"{name}: row[{column}]" for column, name in enumerate(columns))
    return "\n".join(
        [
            f"UNWIND $rows AS row MATCH (n:{node.label} {{{node.key}: row[0]}})",
            f"SET n = {{{properties}}}",
            "WITH n, row",
            *(_create(edge, column) for column, edge in enumerate(edges, len(columns))),
        ]
    )


def _create(edge: Edge, column: int) -> str:
    target = node_labelled(edge.target)
    key, properties = ("x[0]", f" {{{edge.key}: x[1]}}") if edge.key else ("x", "")
    relation = f"[:{edge.type}{properties}]"
    arrow = f"(n)-{relation}->(t)" if edge.outgoing else f"(n)<-{relation}-(t)"
    match = f"MATCH (t:{target.label} {{{target.key}: {key}}})"
    return f"CALL (n, row) {{ UNWIND row[{column}] AS x {match} CREATE {arrow} }}"


def _hold(node: Node) -> str:
    return f"""\
MATCH (n:{node.label} {{{node.key}: $id}})
{_LOCK}
WITH collect(n) AS locked
UNWIND locked AS n
RETURN n.hash AS hash, n.load AS load"""
