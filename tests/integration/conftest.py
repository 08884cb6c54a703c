"""What several of these files test with."""

from collections.abc import AsyncIterator

import pytest

from tests.integration.tables import own_schema
from tests.servers.servers import Postgres


@pytest.fixture
async def dsn(postgres: Postgres) -> AsyncIterator[str]:
    """A schema of the test's own."""
    async with own_schema(postgres.dsn) as dsn:
        yield dsn
