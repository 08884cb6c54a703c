"""A service that is paused, small, starved, or busy with itself."""

import asyncio
from collections.abc import AsyncIterator

from spindle.advice.limits import Limit
from tests.provocations.situations import BOTH, TABLES, provoked
from tests.provocations.stage import Stage


@provoked("`spindle pause` of the kind", Limit.STOPPED, of=BOTH)
async def paused(stage: Stage) -> AsyncIterator[None]:
    """An operator has stopped it."""
    running = await stage.start()
    stage.feed()
    await stage.busy()
    done = await stage.spindle("pause", str(stage.service), "releases", "--by", "me")
    assert done.returncode == 0, done.stderr
    await running.until(lambda: running.metrics().sum("spindle_paused"), "paused")
    try:
        yield
    finally:  # the graph, and its ledger with it, is not emptied for the next one
        done = await stage.spindle("resume", str(stage.service), "releases")
        assert done.returncode == 0, done.stderr


@provoked("batches of 10, and the prefetch that goes with them", Limit.BATCHES, of=BOTH, seconds=12)
async def small_prefetch(stage: Stage) -> AsyncIterator[None]:
    """What may be in hand allows only small transactions."""
    await stage.start({f"{stage.variable}_BATCH_SIZE": "10", f"{stage.variable}_PREFETCH": "40"})
    stage.feed()
    await stage.busy(200)
    yield


@provoked("BATCH_MAX_BYTES=16KiB", Limit.BYTES, of=TABLES)
async def few_bytes(stage: Stage) -> AsyncIterator[None]:
    """Batches are closed by their bytes, long before they are full."""
    await stage.start({"BATCH_MAX_BYTES": "16KiB"})
    stage.feed()
    await stage.busy()
    yield


@provoked("records enough, eight writers, and the slower reader (RABBITMQ_SOURCE=aio-pika)", Limit.CPU, of=TABLES)
async def own_cpu(stage: Stage) -> AsyncIterator[None]:
    """Our own process is busy all the time."""
    feed = stage.feed_of()
    await feed.fill(150_000)
    await stage.start({"POSTGRES_WRITERS": "8", "RABBITMQ_SOURCE": "aio-pika"})
    await stage.busy(2_000)
    yield


@provoked("the service gets no processor for 0.7 s of each second", Limit.LOOP_LAG, of=TABLES)
async def starved(stage: Stage) -> AsyncIterator[None]:
    """As in a container whose quota is used up."""
    running = await stage.start()
    stage.feed()
    await stage.busy()

    async def starve() -> None:
        while True:
            with running.frozen():
                await asyncio.sleep(0.7)
            await asyncio.sleep(0.3)

    stage.do(starve(), "starve")
    yield
