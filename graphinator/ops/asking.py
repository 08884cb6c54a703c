"""Ask the graph: each question is a transaction of its own that reads, with a limit."""

import asyncio
from collections.abc import Mapping
from typing import Any

from neo4j import READ_ACCESS, AsyncDriver, Record
from neo4j.exceptions import DriverError, Neo4jError

from graphinator.classification import classify
from graphinator.settings import Neo4jSettings


class GraphQuestions:
    """What reads the graph in questions inherits from this."""

    def __init__(self, driver: AsyncDriver, settings: Neo4jSettings) -> None:
        self._driver, self._database = driver, settings.database
        self._timeout = settings.connect_timeout + settings.transaction_timeout

    async def _ask(self, statement: str, parameters: Mapping[str, Any]) -> list[Record]:
        try:
            async with (
                asyncio.timeout(self._timeout),
                self._driver.session(database=self._database, default_access_mode=READ_ACCESS) as session,
            ):
                # The text is generated from the model, never from a value.
                result = await session.run(statement, dict(parameters))
                return [record async for record in result]
        except (Neo4jError, DriverError, OSError) as error:
            raise classify(error) from error
