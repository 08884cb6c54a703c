"""Compare a load with both stores, kind by kind: the memory that one kind takes is free before the next."""

from collections import Counter
from collections.abc import Callable

from extractor.loads import Load
from graphinator.ops.reader import open_reader
from graphinator.settings import Neo4jSettings
from spindle.verification.expectation import Expectation
from spindle.verification.expected_graph import EdgeName
from spindle.verification.findings import Verification
from spindle.verification.graph import compare_graph, unowned_edges
from spindle.verification.tables import compare_table
from tableinator.settings import PostgresSettings


async def verify(
    load: Load, *, name: str, postgres: PostgresSettings, neo4j: Neo4jSettings, say: Callable[[str], None]
) -> Verification:
    """Make the load again and compare; `say` hears what is being done.

    Raises: StoreUnavailable, Truncated.
    """
    verification = Verification(name)
    owned: Counter[EdgeName] = Counter()
    async with open_reader(neo4j) as reader:
        for kind in load.kinds:
            say(f"{kind}: working out what must be stored")
            expectation = Expectation(load, kind)
            verification.published[kind] = expectation.published
            if expectation.skipped:
                verification.skipped[kind] = expectation.skipped
            say(f"{kind}: comparing the table")
            verification.stores.append(await compare_table(expectation, postgres))
            say(f"{kind}: comparing the graph")
            findings, owned_by_kind = await compare_graph(expectation, reader)
            verification.stores.append(findings)
            owned += owned_by_kind
        verification.unowned_edges = unowned_edges(await reader.edge_counts(), owned, load.kinds)
    return verification
