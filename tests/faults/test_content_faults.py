"""Contents on which two readers of JSON may disagree: what the runtime decides by is what the store holds."""

from collections.abc import AsyncIterator

import pytest

from common.delivery import Delivery, Epoch, Properties
from common.pipeline.decoding import decode
from tableinator.model import PROJECTION, Row
from tableinator.store import open_store
from tests.integration.tables import fetch, own_schema, settings
from tests.servers.servers import Postgres


@pytest.fixture
async def dsn(postgres: Postgres) -> AsyncIterator[str]:
    async with own_schema(postgres.dsn) as dsn:
        yield dsn


async def test_of_a_key_that_is_there_twice_the_last_counts_for_runtime_and_store(dsn: str) -> None:
    """Fault 8."""
    body = b'{"type":"data","id":"0","id":"7","sha256":"a","sha256":"b","name":"one","name":"two"}'
    row = decode(Delivery(1, Epoch(1), body, 0.0, None, None, 0, Properties), PROJECTION)
    assert isinstance(row, Row)

    async with open_store(settings(dsn)) as store:
        await store.sink("artists").write([row])

    [stored] = await fetch(
        dsn, "SELECT data_id, hash, data->>'id' AS id, data->>'sha256' AS sha, data->>'name' AS name FROM artists"
    )
    assert tuple(stored) == ("7", "b", "7", "b", "two")
