"""What a verification has found: counts, and a few ids to look at. Never content."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from spindle.verification.expected_graph import EdgeName

EXAMPLES = 10


@dataclass(slots=True)
class Finding:
    """Things of one sort that are not as they should be."""

    count: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, example: str, count: int = 1) -> None:
        """Count, and keep the first few."""
        if count > 0:
            self.count += count
            if len(self.examples) < EXAMPLES:
                self.examples.append(example)

    def add_many(self, examples: Sequence[str], count: int) -> None:
        """Count what only some examples are known of."""
        self.count += count
        self.examples.extend(examples[: EXAMPLES - len(self.examples)])


@dataclass(slots=True, kw_only=True)
class StoreFindings:
    """One kind in one store, compared with a load."""

    store: str
    kind: str
    expected: int
    """Records of the load, each id once."""
    agreeing: int = 0
    newer: int = 0
    """Stored from a later load, so that nothing can be said about them here."""
    others: int = 0
    """Stored, and not of this load."""
    missing: Finding = field(default_factory=Finding)
    different: Finding = field(default_factory=Finding)

    @property
    def compared(self) -> int:
        """Records of the load of which something can be said."""
        return self.expected - self.newer

    @property
    def agrees(self) -> bool:
        """Whether every record is there with exactly its content. Where none could be compared, nothing shows that."""
        return bool(self.compared or not self.expected) and not any(finding.count for _, finding in self.problems())

    def problems(self) -> Iterator[tuple[str, Finding]]:
        """What can be wrong, and how much of it is."""
        yield "missing", self.missing
        yield "different", self.different


@dataclass(slots=True, kw_only=True)
class EdgeCount:
    """Edges of one sort: those that a load's records must own, those they own, and all in the store."""

    expected: int = 0
    stored: int = 0
    all: int = 0


@dataclass(slots=True, kw_only=True)
class GraphFindings(StoreFindings):
    """One kind in the graph. `different` counts nodes whose properties differ; edges are counted one by one."""

    stubs: int = 0
    doubled: Finding = field(default_factory=Finding)
    """Nodes beyond the first with one id."""
    missing_edges: Finding = field(default_factory=Finding)
    extra_edges: Finding = field(default_factory=Finding)
    edges: dict[EdgeName, EdgeCount] = field(default_factory=dict)

    def problems(self) -> Iterator[tuple[str, Finding]]:
        """What can be wrong, and how much of it is."""
        yield from StoreFindings.problems(self)
        yield "doubled", self.doubled
        yield "missing edges", self.missing_edges
        yield "extra edges", self.extra_edges


@dataclass(slots=True)
class Verification:
    """A load compared with both stores. `published` counts messages by kind, ids that come again included."""

    load: str
    published: dict[str, int] = field(default_factory=dict)
    skipped: dict[str, dict[str, int]] = field(default_factory=dict)
    """Records of the source that could not be read, by kind and reason: no store is asked for them."""
    stores: list[StoreFindings] = field(default_factory=list)
    doubled_nodes: Finding = field(default_factory=Finding)
    """Nodes beyond the first with one key, of labels that the load's records only lead to."""
    foreign_nodes: Finding = field(default_factory=Finding)
    """Nodes of our labels whose key is a number: another writer's, beside which a load makes ours."""
    unowned_edges: Finding = field(default_factory=Finding)
    """Edges of our types on our nodes' side that no record accounts for."""
    others_edges: int = 0
    """Edges of other types, or on other nodes: somebody else's, and none of this load's business."""
    unknown: list[str] = field(default_factory=list)
    """What could not be found out, a sentence each."""

    @property
    def compared(self) -> int:
        """Records compared, in all stores together."""
        return sum(found.compared for found in self.stores)

    @property
    def newer(self) -> int:
        """Records passed over, in all stores together, because they are stored from a later load."""
        return sum(found.newer for found in self.stores)

    @property
    def disagrees(self) -> bool:
        """Whether something was found that is not as it should be."""
        return any(finding.count for _, finding in self.problems()) or not all(found.agrees for found in self.stores)

    @property
    def agrees(self) -> bool:
        """Whether both stores hold the load's records with exactly their content, and all of that could be seen."""
        return not self.disagrees and not self.unknown and self.compared > 0

    def problems(self) -> Iterator[tuple[str, Finding]]:
        """What can be wrong in the graph beside the records, and how much of it is."""
        yield "doubled nodes", self.doubled_nodes
        yield "nodes with a number as their key", self.foreign_nodes
        yield "edges that no record owns", self.unowned_edges

    def of(self, store: str, kind: str) -> StoreFindings:
        """What was found about a kind in a store."""
        return next(found for found in self.stores if (found.store, found.kind) == (store, kind))

    def edges(self) -> dict[EdgeName, EdgeCount]:
        """The edges of all kinds."""
        return {
            name: count
            for found in self.stores
            if isinstance(found, GraphFindings)
            for name, count in found.edges.items()
        }


def edge_text(name: EdgeName) -> str:
    """An edge as Cypher draws it."""
    start, type_, end = name
    return f"(:{start})-[:{type_}]->(:{end})"


def as_data(verification: Verification) -> dict[str, Any]:
    """The findings for a program."""
    return {
        "load": verification.load,
        "verified": verification.agrees,
        "published": verification.published,
        "skipped": verification.skipped,
        "stores": [_store_as_data(found) for found in verification.stores],
        "edges": {
            edge_text(name): {"expected": count.expected, "stored": count.stored, "in_store": count.all}
            for name, count in verification.edges().items()
        },
        "doubled_nodes": _finding_as_data(verification.doubled_nodes),
        "foreign_nodes": _finding_as_data(verification.foreign_nodes),
        "unowned_edges": _finding_as_data(verification.unowned_edges),
        "others_edges": verification.others_edges,
        "compared": verification.compared,
        "newer": verification.newer,
        "unknown": verification.unknown,
    }


def _store_as_data(found: StoreFindings) -> dict[str, Any]:
    counts = {
        "expected": found.expected,
        "compared": found.compared,
        "agreeing": found.agreeing,
        "newer": found.newer,
        "others": found.others,
    }
    stubs = {"stubs": found.stubs} if isinstance(found, GraphFindings) else {}
    problems = {name.replace(" ", "_"): _finding_as_data(finding) for name, finding in found.problems()}
    return {"store": found.store, "kind": found.kind, "verified": found.agrees, **counts, **stubs, **problems}


def _finding_as_data(finding: Finding) -> dict[str, Any]:
    return {"count": finding.count, "examples": finding.examples}
