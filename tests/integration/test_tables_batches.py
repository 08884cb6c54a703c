"""The batch size in use, on a PostgreSQL that is slow for a while."""

import asyncio
from collections.abc import Callable

from common.pipeline.pipeline import Pipeline
from common.storing.breaker import Breaker
from common.telemetry.metrics import REGISTRY, KindMetrics
from tableinator.model import PROJECTION, Row
from tableinator.store import open_store
from tests.fakes import FakeDeadLetters, FakeSource, body, consumer_settings
from tests.integration.tables import fetch, own_schema, run, settings
from tests.servers.servers import Postgres

SLOW_ROWS = """
CREATE FUNCTION doze() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.004); RETURN NEW; END';
CREATE TRIGGER doze BEFORE INSERT ON artists FOR EACH ROW EXECUTE FUNCTION doze()
"""


def batch_size() -> float:
    labels = {"service": "slow", "kind": "artists"}
    return REGISTRY.get_sample_value("spindle_batch_size_limit_records", labels) or 0.0


async def until(claim: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not claim():
            await asyncio.sleep(0.01)  # the store is another process, which tells nobody


async def test_a_slow_trigger_makes_batches_smaller_and_without_it_they_are_whole_again(postgres: Postgres) -> None:
    source = FakeSource(prefetch=1500)
    source.put(*(body(number) for number in range(1, 1501)))
    async with own_schema(postgres.dsn) as dsn, open_store(settings(dsn)) as store, asyncio.TaskGroup() as tasks:
        await run(dsn, SLOW_ROWS)
        pipeline: Pipeline[Row] = Pipeline(
            consumer_settings(writers=1),
            source=source,
            project=PROJECTION,
            sink=store.sink("artists"),
            breaker=Breaker(service="slow", store="PostgreSQL"),
            dead_letters=FakeDeadLetters(),
            metrics=KindMetrics("slow", "artists"),
            slots=store.slots("artists"),
        )
        running = tasks.create_task(pipeline.run())

        await until(lambda: len(source.acknowledged) == 1500)
        assert 50 <= batch_size() <= 250
        await run(dsn, "DROP TRIGGER doze ON artists")
        source.put(*(body(number) for number in range(1501, 20_000)))
        await until(lambda: batch_size() == 500 or running.done())

        source.stop()
        await running
        stored = (await fetch(dsn, "SELECT count(*) FROM artists"))[0]["count"]
        assert stored == len(source.acknowledged)
        assert batch_size() == 500
