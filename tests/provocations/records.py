"""Records that are bad, that were there before, or that follow each other too closely."""

from collections.abc import AsyncIterator

from spindle.advice.limits import Limit
from tests.provocations.situations import BOTH, GRAPH, TABLES, provoked
from tests.provocations.stage import Stage

IN_THE_STORE = {Limit.STORE, Limit.STORE_CPU, Limit.STORE_DISK, Limit.ROUND_TRIPS, Limit.BATCHES}
"""What may limit besides: which of these is not the matter here."""


@provoked("one message of 33 is no JSON", Limit.DEAD_LETTERS, of=BOTH)
async def unreadable(stage: Stage) -> AsyncIterator[None]:
    """A producer with a fault; the service keeps up."""
    await stage.start()
    stage.feed(rate=300, burst=66, broken_every=33)
    await stage.busy()
    yield


@provoked(
    "a CHECK constraint refuses one record of 50",
    Limit.DEAD_LETTERS,
    of=TABLES,
    beside=IN_THE_STORE | {Limit.RETRIES},
)
async def refused(stage: Stage) -> AsyncIterator[None]:
    """The store refuses them, and finding each takes transactions."""
    await stage.start()
    await stage.sql("ALTER TABLE releases ADD CONSTRAINT by_hand CHECK (hashtext(data_id) % 50 <> 0)")
    stage.feed()
    await stage.busy()
    yield


@provoked("a CHECK constraint refuses every record", Limit.STOPPED, of=TABLES, beside={Limit.RETRIES})
async def all_refused(stage: Stage) -> AsyncIterator[None]:
    """Nothing can be stored: a person must look."""
    await stage.start()
    stage.feed()
    await stage.busy()
    await stage.sql("ALTER TABLE releases ADD CONSTRAINT by_hand CHECK (false) NOT VALID")
    running = stage.running
    await running.until(lambda: running.metrics().sum("spindle_refusing_everything"), "holding everything")
    yield


@provoked(
    "the same records again, through a network of 30 ms",
    Limit.DUPLICATES,
    of=BOTH,
    beside=IN_THE_STORE,
)
async def again(stage: Stage) -> AsyncIterator[None]:
    """A load that is published again."""
    weather, behind = await stage.weather("store")
    await stage.start({f"{stage.variable}_WRITERS": "1"}, behind=behind)
    feed = stage.feed(same=True)
    await stage.busy(feed.size)
    weather.latency = 0.03
    await stage.busy(feed.size + 2_000)
    yield


@provoked("nine ids again and again", Limit.DUPLICATES, of=GRAPH, beside=IN_THE_STORE)
async def same_ids(stage: Stage) -> AsyncIterator[None]:
    """All but the last version of an id in a batch are not written."""
    feed = stage.feed_of(records=16)
    await feed.fill(200_000)
    await stage.start()
    await stage.busy()
    yield
