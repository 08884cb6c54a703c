"""Compare one kind's nodes, and the edges that they own, with a load."""

from collections import Counter
from collections.abc import Collection, Mapping

from common.kinds import KINDS
from graphinator.model import Edge, edges_of, node_of
from graphinator.ops.reader import GraphReader, StoredRecord
from spindle.verification.expectation import CHUNK, Expectation, Fingerprint, node_digest
from spindle.verification.expected_graph import OWNED, EdgeName, Far, GraphNode
from spindle.verification.findings import EXAMPLES, EdgeCount, Finding, GraphFindings, Verification, edge_text

STORE = "neo4j"
_LOOKED_INTO = 10_000
"""Differing nodes whose edges are compared one by one. If there are more, something else is wrong."""


class GraphComparison:
    """One kind's comparison; give it every chunk and what else there is, then ask for the findings."""

    def __init__(self, expectation: Expectation) -> None:
        kind = expectation.kind
        self._expectation = expectation
        self._chunk: Mapping[str, Fingerprint] = {}
        self._met: set[str] = set()
        self._layout = _Layout(kind)
        self._differing: dict[str, GraphNode] = {}
        self.owned: Counter[EdgeName] = Counter()
        """Edges of every node of the kind, whichever load it is from."""
        self._stored: Counter[EdgeName] = Counter()
        self._found = GraphFindings(store=STORE, kind=kind, expected=len(expectation))
        self._last = ""

    def compare(self, chunk: Mapping[str, Fingerprint], page: list[StoredRecord]) -> None:
        """Compare the nodes of some of the load's records by their digests; keep those that differ."""
        self._chunk, self._met = chunk, set()
        self.take(page)
        for record_id in chunk:
            if record_id not in self._met:
                self._found.missing.add(f"{self._expectation.kind} {record_id}")
        self._chunk = {}

    def take(self, page: list[StoredRecord]) -> None:
        """Look at nodes, in the order of their ids; outside of `compare` they are none of the load's."""
        for stored in page:
            node = self._layout.node(stored)
            edges = Counter(
                {name: len(ends) for name, ends in zip(OWNED[self._expectation.kind], node.edges, strict=True)}
            )
            self.owned.update(edges)
            # They come in the order of their ids.
            if stored.id == self._last:
                self._found.doubled.add(f"{self._expectation.kind} {stored.id}")
            elif self._compare(stored, node):
                self._stored.update(edges)
            self._last = stored.id

    def findings(self) -> GraphFindings:
        """Look into what differs, and sum up."""
        kind, found = self._expectation.kind, self._found
        expected = self._expectation.nodes_of(set(self._differing)) if self._differing else {}
        for record_id, node in self._differing.items():
            self._explain(f"{kind} {record_id}", expected[record_id], node)
        counts = self._expectation.edges
        found.edges = {
            name: EdgeCount(expected=counts[name], stored=self._stored[name], all=self.owned[name])
            for name in OWNED[kind]
        }
        return found

    def _compare(self, stored: StoredRecord, node: GraphNode) -> bool:
        """Compare one node. Returns: whether its edges are those of a record of this load."""
        found, name = self._found, f"{self._expectation.kind} {stored.id}"
        fingerprint = self._chunk.get(stored.id)
        if stored.hash is None:
            found.stubs += 1
            found.extra_edges.add(name, sum(map(len, node.edges)))  # a node that no record has filled owns none
            return False
        if fingerprint is None:
            found.others += 1
            return False
        self._met.add(stored.id)
        if node_digest(node) == fingerprint.node:
            found.agreeing += 1
        elif stored.version is not None and stored.version > self._expectation.load.date:
            found.newer += 1
            return False
        elif len(self._differing) < _LOOKED_INTO:
            self._differing[stored.id] = node
        else:
            found.different.add(name)
        return True

    def _explain(self, name: str, expected: GraphNode, stored: GraphNode) -> None:
        found = self._found
        if stored.properties != expected.properties:
            found.different.add(name)
        for edge, must, has in zip(OWNED[self._expectation.kind], expected.edges, stored.edges, strict=True):
            # As multisets: one edge too many is one too many, also where it leads to where another does.
            found.missing_edges.add(f"{name} {edge_text(edge)}", (Counter(must) - Counter(has)).total())
            found.extra_edges.add(f"{name} {edge_text(edge)}", (Counter(has) - Counter(must)).total())


async def compare_graph(expectation: Expectation, reader: GraphReader) -> tuple[GraphFindings, Counter[EdgeName]]:
    """Look up every record's node and compare it, then look at all others.

    Returns: what was found, and the edges that the kind's nodes own.

    Raises: StoreUnavailable.
    """
    comparison = GraphComparison(expectation)
    kind = expectation.kind
    for chunk in expectation.chunks():
        comparison.compare(chunk, await reader.records_of(kind, list(chunk)))
    async for keys in reader.keys(kind):
        others = [key for key in keys if key not in expectation]
        for start in range(0, len(others), CHUNK):
            comparison.take(await reader.records_of(kind, others[start : start + CHUNK]))
    return comparison.findings(), comparison.owned


async def count_doubled_nodes(verification: Verification, reader: GraphReader, compared: Collection[str]) -> None:
    """Find what is there twice of every label that these kinds fill or lead to, and that no comparison has seen.

    An edge is compared by the key of its other end, so that it agrees at any of two; what has a number as its key
    nobody has asked for.
    Raises: StoreUnavailable.
    """
    own = {node_of(kind).label for kind in compared}
    targets = {edge.target for kind in compared for edge in edges_of(kind)}
    for label in sorted(own | targets):
        if label not in own:
            count, keys = await reader.doubled(label, EXAMPLES)
            verification.doubled_nodes.add_many([f"{label} {key}" for key in keys], count)
        count, keys = await reader.number_keys(label, EXAMPLES)
        verification.foreign_nodes.add_many([f"{label} {key}" for key in keys], count)


async def count_edges(verification: Verification, reader: GraphReader, owned: Mapping[str, Counter[EdgeName]]) -> None:
    """See that no edge is on a node where it belongs and yet of no record, and how many are somebody else's.

    `owned`: by kind, what `compare_graph` counted; nothing is said of kinds that are not in it.
    Raises: StoreUnavailable.
    """
    of_ours = 0
    for kind in KINDS:
        counts = await reader.edge_counts(kind)
        of_ours += sum(counts.values())
        if kind in owned:
            _compare_counts(verification.unowned_edges, kind, counts, owned[kind])
    verification.others_edges = await reader.all_edges() - of_ours


def _compare_counts(
    finding: Finding, kind: str, counts: Mapping[tuple[str, bool], int], owned: Counter[EdgeName]
) -> None:
    label = node_of(kind).label
    for (type_, outgoing), count in counts.items():
        own_end = 0 if outgoing else 2
        ours = sum(number for name, number in owned.items() if name[1] == type_ and name[own_end] == label)
        sort = f"(:{label})-[:{type_}]->()" if outgoing else f"()-[:{type_}]->(:{label})"
        finding.add(sort, abs(count - ours))


class _Layout:
    """Where graphinator's reading has which property and which edge."""

    def __init__(self, kind: str) -> None:
        self._properties = [each.name for each in node_of(kind).properties]
        columns = {_name(edge): (position, edge) for position, edge in enumerate(edges_of(kind))}
        self._columns = [columns.get(name) for name in OWNED[kind]]

    def node(self, stored: StoredRecord) -> GraphNode:
        values = zip(self._properties, stored.properties, strict=True)
        return GraphNode(
            {name: value for name, value in values if value is not None},
            tuple(_ends(column, stored) for column in self._columns),
        )


def _name(edge: Edge) -> EdgeName:
    return (edge.owner, edge.type, edge.target) if edge.outgoing else (edge.target, edge.type, edge.owner)


def _ends(column: tuple[int, Edge] | None, stored: StoredRecord) -> list[Far]:
    if column is None:
        return []
    position, edge = column
    if edge.key is None:
        return sorted((end, "") for end in stored.edges[position])
    # One without its property is none of ours, and not the same as one with an empty property.
    return sorted((end or "(none)", "(none)" if value is None else value) for end, value in stored.edges[position])
