"""What batches are worth, measured against the real databases: as relations, because seconds are the machine's.

Run it with `-s` to see the tables of what was measured.
"""

import time
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from rich import box
from rich.align import Align
from rich.console import Console
from rich.table import Table

from common.batching.batch import Trigger
from common.consumer import Store
from common.delivery import Delivery, Epoch, Properties
from common.envelope import Projection
from common.kinds import Service
from common.pipeline.decoding import decode
from extractor.synthetic.synthetic import SyntheticLoad
from graphinator.store import open_store as open_graph
from tableinator.store import open_store as open_tables
from tests.e2e.broker import Broker
from tests.e2e.fixtures import (  # noqa: F401  (pytest finds them by the names that they give themselves)
    each_side,
    empty_graph,
    empty_tables,
    fresh_broker,
    services_of_a_test,
)
from tests.e2e.loads import messages_of
from tests.e2e.services import Metrics, Services
from tests.e2e.sides import Side, Tables
from tests.integration import graphs, tables

BATCH = 500
FULL = 0.9  # of the batch size in use, on average, as long as there is a backlog
FACTOR = 5.0
"""How many times faster batches of 500 are, at least. On two cores 17 to 31 were measured for PostgreSQL, 20 to 107 for
Neo4j."""

LOAD = SyntheticLoad(21_000, seed=9, kinds=("releases",))
"""11,760 releases: 23 batches and a bit. The store is slower than the broker with these, so that there is a backlog; of
artists, which are small, tableinator takes more than the broker brings."""
BATCHED = 2_500  # records
ONE_BY_ONE = 300  # records


async def test_batches_of_500_are_several_times_faster_than_one_by_one(side: Side) -> None:
    async with _opened(side) as store:
        sink, records = store.sink("releases"), _records(store.projection("releases"), BATCH + BATCHED + ONE_BY_ONE)
        warming, batched_ones, single_ones = records[:BATCH], records[BATCH:-ONE_BY_ONE], records[-ONE_BY_ONE:]
        await sink.write(warming)  # a server that has just started compiles what it will need
        batched = await _rate(sink, batched_ones, size=BATCH)
        single = await _rate(sink, single_ones, size=1)

    _show(
        f"{side.store}: releases per second",
        ("batches of 500", f"{batched:,.0f}"),
        ("one by one", f"{single:,.0f}"),
        ("factor", f"{batched / single:.1f}"),
    )
    assert batched > FACTOR * single


async def test_batches_are_full_under_backlog(broker: Broker, services: Services, side: Side) -> None:
    """Fault 39."""
    await broker.declare(side.service)
    published = await broker.publish(LOAD)
    assert published > 20 * BATCH
    began = time.monotonic()

    service = await services.start(side.service, broker.environment | side.environment | {"KINDS": "releases"})
    await broker.until_drained(service)

    metrics, seconds = service.metrics(), time.monotonic() - began
    batches, records = _batches(metrics)
    fill = records / metrics.sum("spindle_batch_room_records_total")
    _show(
        f"{side.service}: a backlog of {published:,} releases, {seconds:.1f} s from the start of the process",
        ("limit in the end", f"{metrics.sum('spindle_batch_size_limit_records'):.0f}"),
        ("batches", f"{batches:,}"),
        *((f"… closed by {trigger}", f"{_batches(metrics, trigger)[0]:,}") for trigger in Trigger),
        ("records per batch", f"{records / batches:.1f}"),
        ("of the size in use", f"{fill:.1%}"),
    )
    assert records == published  # all of them in this process, none twice
    # All batches count, the last one too, which is not full and could not be.
    assert fill >= FULL


@pytest.mark.parametrize(
    ("service", "prefix", "least"), [(Service.TABLEINATOR, "POSTGRES", 1500), (Service.GRAPHINATOR, "NEO4J", 1500)]
)
async def test_a_prefetch_below_the_batches_is_refused_at_the_start(
    services: Services, service: Service, prefix: str, least: int
) -> None:
    running = services.launch(service, {f"{prefix}_PREFETCH": f"{BATCH - 1}"})

    code = await running.end()

    [line] = running.log.splitlines()
    print(line)
    assert code == 2
    assert f"{prefix}_PREFETCH is 499, which does not fit {prefix}_BATCH_SIZE 500" in line
    assert f"allowed is {prefix}_PREFETCH from {least} to 65535 or {prefix}_BATCH_SIZE up to" in line


def _opened(side: Side) -> AbstractAsyncContextManager[Store]:
    if isinstance(side, Tables):
        return open_tables(tables.settings(side.dsn, kinds=("releases",)))
    return open_graph(graphs.settings(side.server))  # type: ignore[attr-defined]


def _records(project: Projection[Any], count: int) -> list[Any]:
    """The first records of the load, as a sink takes them."""
    deliveries = (
        Delivery(1, Epoch(1), message.body, 0.0, LOAD.date, None, 0, Properties)
        for message in messages_of(LOAD, "releases")[:count]
    )
    return [decode(delivery, project) for delivery in deliveries]


async def _rate(sink: Any, records: Sequence[Any], *, size: int) -> float:
    """Records per second, written one batch after the other; every one of them is new."""
    written, began = 0, time.perf_counter()
    for start in range(0, len(records), size):
        written += (await sink.write(records[start : start + size])).new
    seconds = time.perf_counter() - began
    assert written == len(records)
    return written / seconds


def _batches(metrics: Metrics, trigger: Trigger | None = None) -> tuple[int, int]:
    """How many batches there were, and of how many records together."""
    labels = {"trigger": str(trigger)} if trigger else {}
    return (
        int(metrics.sum("spindle_batch_size_records_count", **labels)),
        int(metrics.sum("spindle_batch_size_records_sum", **labels)),
    )


def _show(title: str, *rows: tuple[str, str]) -> None:
    table = Table(title, "", box=box.SIMPLE_HEAD)
    for name, value in rows:
        table.add_row(name, Align.right(value))
    Console(width=100).print(table)
