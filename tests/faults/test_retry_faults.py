"""What is written again is what came: a record that is tried again is the same record."""

from collections.abc import AsyncIterator, Sequence

import pytest

from common.errors import SinkError, StoreUnavailable, WriteConflict
from tests.fakes import FakeRecord, body
from tests.faults.line import Place, place_at, running, until
from tests.servers.servers import RabbitMQ


@pytest.fixture
async def place(rabbitmq: RabbitMQ) -> AsyncIterator[Place]:
    async with place_at(rabbitmq.url) as place:
        yield place


async def test_what_is_tried_again_is_what_came(place: Place) -> None:
    """Faults 13 and 16: after conflicts and an outage, each record once, with the body as it was published."""
    sent = [body(number) for number in range(1, 10)]
    errors: list[SinkError] = [WriteConflict(), WriteConflict(), StoreUnavailable("away"), StoreUnavailable("away")]
    tried: list[list[str]] = []

    def fail(records: Sequence[FakeRecord]) -> SinkError | None:
        tried.append([record.payload for record in records])
        return errors.pop() if errors else None

    async with running(place) as line:
        line.sink.fail = fail
        await place.publish(*sent)
        await until(lambda: len(line.sink.rows) == len(sent))

    assert {line.sink.rows[str(number)].payload for number in range(1, 10)} == {each.decode() for each in sent}
    assert {payload for each in tried for payload in each} == {each.decode() for each in sent}
    assert sorted(record_id for batch in line.sink.batches for record_id in batch) == sorted(line.sink.rows)
