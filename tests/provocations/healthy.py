"""Runs in which nothing is to be found: nothing to do, a slow publisher, and services that keep up with a brisk one."""

from collections.abc import AsyncIterator

from common.kinds import KINDS
from spindle.advice.limits import Limit
from tests.provocations.situations import BOTH, GRAPH, TABLES, provoked
from tests.provocations.stage import Stage

_LONG = 14
"""Seconds for a thousand records at a pace that also a busy machine keeps up with."""


@provoked("nothing is published", Limit.NOTHING_TO_DO, of=BOTH)
async def nothing_to_do(stage: Stage) -> AsyncIterator[None]:
    """An idle service."""
    await stage.start()
    yield


@provoked("the publisher has 100 records a second, and no more", Limit.PUBLISHER, of=BOTH, seconds=_LONG)
async def slow_publisher(stage: Stage) -> AsyncIterator[None]:
    """A service that waits most of its time."""
    await stage.start()
    stage.feed(rate=100, burst=10)
    await stage.keeping_up()
    yield


@provoked("500 releases a second, default settings", Limit.PUBLISHER, of=TABLES)
async def healthy_releases(stage: Stage) -> AsyncIterator[None]:
    """One kind."""
    await stage.start()
    stage.feed(rate=500)
    await stage.keeping_up()
    yield


@provoked("500 records a second of four kinds, one writer, batches of 100", Limit.PUBLISHER, of=TABLES)
async def healthy_kinds(stage: Stage) -> AsyncIterator[None]:
    """All kinds, in smaller transactions."""
    await stage.start({"POSTGRES_WRITERS": "1", "POSTGRES_BATCH_SIZE": "100"}, kinds=KINDS)
    stage.feed(kinds=KINDS, rate=500, burst=100)
    await stage.keeping_up()
    yield


@provoked("1,000 artists every two seconds, batches of 2,000", Limit.PUBLISHER, of=TABLES)
async def healthy_bursts(stage: Stage) -> AsyncIterator[None]:
    """A publisher that comes now and then with much."""
    await stage.start({"POSTGRES_BATCH_SIZE": "2000"}, kinds=("artists",))
    stage.feed(kinds=("artists",), records=12_000, rate=500, burst=1_000)
    await stage.keeping_up()
    yield


@provoked("100 artists a second, default settings", Limit.PUBLISHER, of=GRAPH, seconds=_LONG)
async def healthy_artists(stage: Stage) -> AsyncIterator[None]:
    """One kind of the graph."""
    await stage.start(kinds=("artists",))
    stage.feed(kinds=("artists",), rate=100, burst=10)
    await stage.keeping_up()
    yield


@provoked("100 records a second of four kinds, batches of 200", Limit.PUBLISHER, of=GRAPH, seconds=_LONG)
async def healthy_graph(stage: Stage) -> AsyncIterator[None]:
    """Kinds that take turns."""
    await stage.start({"NEO4J_BATCH_SIZE": "200"}, kinds=KINDS)
    stage.feed(kinds=KINDS, rate=100, burst=20)
    await stage.keeping_up()
    yield
