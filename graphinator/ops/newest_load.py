"""Which load the graph has seen last, as far as a sample of its nodes tells."""

import asyncio
from collections.abc import Sequence
from typing import Final

from neo4j import READ_ACCESS
from neo4j.exceptions import DriverError, Neo4jError

from graphinator.classification import classify
from graphinator.model import node_of
from graphinator.settings import Neo4jSettings
from graphinator.store import open_driver

_NODES: Final = 20_000
"""Of each kind: a later load changes or adds a few records in a hundred, so a sample shows it."""


async def newest_load(settings: Neo4jSettings, kinds: Sequence[str]) -> str | None:
    """The newest load among the sampled nodes; None if there is none.

    Raises: StoreUnavailable.
    """
    found: list[str] = []
    try:
        async with (
            asyncio.timeout(settings.connect_timeout + settings.transaction_timeout),
            open_driver(settings) as driver,
            driver.session(database=settings.database, default_access_mode=READ_ACCESS) as session,
        ):
            for kind in kinds:
                # The label comes from the model, never from a value.
                result = await session.run(
                    f"CYPHER 5 MATCH (n:{node_of(kind).label}) WITH n LIMIT $nodes "
                    "WITH n.load AS load WHERE load =~ '20[0-9]{2}(0[1-9]|1[0-2])(0[1-9]|[12][0-9]|3[01])' "
                    "RETURN max(load) AS newest",
                    {"nodes": _NODES},
                )
                found += [record["newest"] async for record in result if record["newest"]]
    except (Neo4jError, DriverError, OSError) as error:
        raise classify(error) from error
    return max(found, default=None)
