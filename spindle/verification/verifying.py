"""Compare a load with both stores, kind by kind: memory does not grow with the load."""

from collections import Counter
from collections.abc import Callable

from common.errors import StoreUnavailable
from extractor.loads import Load
from extractor.streams import Truncated
from graphinator.ops.reader import open_reader
from graphinator.settings import Neo4jSettings
from spindle.verification.expectation import Expectation
from spindle.verification.expected_graph import EdgeName
from spindle.verification.findings import Verification
from spindle.verification.graph import compare_graph, count_doubled_nodes, count_edges
from spindle.verification.tables import compare_table
from tableinator.settings import PostgresSettings


async def verify(
    load: Load, *, name: str, postgres: PostgresSettings, neo4j: Neo4jSettings, say: Callable[[str], None]
) -> Verification:
    """Make the load again and compare; `say` hears what is being done.

    What can't be read later on, source or store, is said in the verification, beside what was found until then.
    Raises: StoreUnavailable if nothing was found yet.
    """
    verification = Verification(name)
    owned: dict[str, Counter[EdgeName]] = {}
    async with open_reader(neo4j) as reader:
        try:
            for kind in load.kinds:
                say(f"{kind}: working out what must be stored")
                try:
                    expectation = Expectation(load, kind)
                except (Truncated, OSError) as error:
                    verification.unknown.append(f"{kind}: the source can't be read to its end: {error}")
                    continue
                verification.published[kind] = expectation.published
                if expectation.skipped:
                    verification.skipped[kind] = expectation.skipped
                say(f"{kind}: comparing the table")
                verification.stores.append(await compare_table(expectation, postgres))
                say(f"{kind}: comparing the graph")
                findings, owned[kind] = await compare_graph(expectation, reader)
                verification.stores.append(findings)
            await count_doubled_nodes(verification, reader, owned)
            await count_edges(verification, reader, owned)
        except StoreUnavailable as error:
            if not verification.stores:
                raise
            verification.unknown.append(f"a store can't be read any more, so that the rest was not compared: {error}")
    return verification
