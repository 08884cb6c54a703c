"""The batcher: when a batch goes out, and what is in it."""

import asyncio
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from common.batching.batch import Barrier, Batch, BatchLimits, Item, Trigger, first_run, ranked, resolve
from common.batching.batch_size import BatchSize
from common.batching.batcher import Batcher
from common.batching.waiters import whole
from common.delivery import Delivery, Epoch, Properties
from common.envelope import FileComplete
from tests.fakes import FakeRecord
from tests.virtual_time import in_virtual_time


class Stream:
    """A batcher and what feeds it, on a virtual clock."""

    def __init__(self, saturated_at: int | None = None, **limits: float) -> None:
        self.expired = 0
        self.unsettled = 0
        self.epoch = Epoch(1)
        self.tag = 0
        given = BatchLimits(**limits)  # type: ignore[arg-type]  # sizes are ints, times are floats
        self.size = BatchSize(given.size, target=1.0)
        self.batcher: Batcher[FakeRecord] = Batcher(
            given,
            size=self.size,
            unsettled=lambda: self.unsettled,
            on_expired=self.expire,
            saturated_at=saturated_at,
        )

    def expire(self, count: int) -> None:
        self.expired += count

    def put(self, *ids: str, size: int = 10, delivery_count: int = 0, version: str | None = None) -> None:
        self.batcher.put([Item(self.delivery(size, delivery_count), FakeRecord(one, version=version)) for one in ids])

    def put_barrier(self) -> None:
        self.batcher.put([Barrier(self.delivery(10, 0), FileComplete("artists"))])

    def delivery(self, size: int, delivery_count: int) -> Delivery:
        self.tag += 1
        self.unsettled += 1
        now = asyncio.get_running_loop().time()
        return Delivery(self.tag, self.epoch, b"x" * size, now, None, None, delivery_count, Properties)

    async def work(self) -> Batch[FakeRecord] | Barrier | None:
        """What a writer does next whose slot is always free; None once the stream has ended."""
        while await self.batcher.wait():
            if (work := self.batcher.take_barrier() or self.batcher.cut()) is not None:
                return work
        return None

    async def take(self) -> Batch[FakeRecord]:
        batch = await self.work()
        assert isinstance(batch, Batch)
        return batch

    def done(self, batch: Batch[FakeRecord]) -> None:
        self.unsettled -= batch.size
        self.batcher.done([*batch.items, *(item for same in batch.losers.values() for item in same)])


def ids(batch: Batch[FakeRecord]) -> list[str]:
    return [item.record.id for item in batch.items]


def now() -> float:
    return asyncio.get_running_loop().time()


@in_virtual_time
async def test_a_full_batch_goes_out_at_once() -> None:
    stream, start = Stream(size=3), now()

    stream.put("1", "2", "3", "4")

    batch = await stream.take()
    assert (ids(batch), batch.trigger, now() - start) == (["1", "2", "3"], Trigger.SIZE, 0)


@in_virtual_time
async def test_bytes_close_a_batch_before_its_number_does() -> None:
    stream = Stream(size=100, max_bytes=250)

    stream.put("1", "2", "3", size=100)

    batch = await stream.take()
    assert (ids(batch), batch.trigger) == (["1", "2"], Trigger.BYTES)


@in_virtual_time
async def test_what_closes_a_batch_is_said_of_the_batch_not_of_all_that_waits() -> None:
    stream = Stream(size=3, max_bytes=250)
    stream.put(*numbered(4), size=100)

    batch = await stream.take()

    assert (batch.size, batch.trigger) == (2, Trigger.BYTES)


@in_virtual_time
async def test_a_batch_that_ends_before_an_id_in_flight_is_not_said_to_be_full_of_bytes() -> None:
    stream = Stream(size=4, max_bytes=250)
    stream.put("1", "2", size=125)
    await stream.take()
    stream.put("3", "1", "4", size=100)

    batch = await stream.take()

    assert (ids(batch), batch.trigger) == (["3"], Trigger.SIZE)


@in_virtual_time
async def test_a_record_larger_than_the_limit_goes_alone() -> None:
    stream = Stream(size=100, max_bytes=250)

    stream.put("1", size=1000)

    assert ids(await stream.take()) == ["1"]


@in_virtual_time
async def test_a_trickle_goes_out_within_tens_of_milliseconds() -> None:
    stream, start = Stream(size=500, flush_interval=60.0), now()

    stream.put("1")

    batch = await stream.take()
    assert batch.trigger == Trigger.IDLE
    assert now() - start <= 0.02


@in_virtual_time
async def test_a_flood_waits_for_its_batch_to_be_full() -> None:
    stream = Stream(size=500)
    taking = asyncio.create_task(stream.take())

    for number in range(100):  # 10,000 a second
        stream.put(*(f"{number}-{n}" for n in range(10)))
        await asyncio.sleep(0.001)

    batch = await taking
    assert (batch.size, batch.trigger) == (500, Trigger.SIZE)


@in_virtual_time
async def test_a_batch_that_stays_almost_full_is_looked_at_a_few_times_only(monkeypatch: pytest.MonkeyPatch) -> None:
    stream, start, rings = Stream(size=500), now(), count_rings(monkeypatch)

    stream.put(*numbered(499))

    batch = await stream.take()
    assert (batch.trigger, now() - start <= 0.061) == (Trigger.IDLE, True)
    assert len(rings) <= 10


@given(st.floats(0, 1e9))
@example(1000.0120000000001)
def test_the_clock_rings_at_a_whole_millisecond_and_never_too_early(when: float) -> None:
    assert when <= whole(when) < when + 0.0011
    assert round(whole(when) * 1000) == pytest.approx(whole(when) * 1000, abs=0.001)


def count_rings(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Note for when the clock is set."""
    loop, rings = asyncio.get_running_loop(), list[float]()
    call_at = loop.call_at

    def note(when: float, *args: Any, **kwargs: Any) -> asyncio.TimerHandle:
        rings.append(when)
        return call_at(when, *args, **kwargs)

    monkeypatch.setattr(loop, "call_at", note)
    return rings


@in_virtual_time
async def test_a_batch_is_cut_to_the_size_in_use_when_its_writer_has_a_slot() -> None:
    stream = Stream(size=100)
    stream.put(*numbered(100))
    await stream.batcher.wait()

    stream.size.too_large(100)

    batch = stream.batcher.cut()
    assert batch is not None
    assert batch.size == 50


@in_virtual_time
async def test_what_comes_while_a_writer_waits_for_its_slot_goes_along_up_to_the_limits() -> None:
    stream = Stream(size=4, max_bytes=250)
    stream.put("1", size=100)
    await stream.batcher.wait()
    stream.put("2", size=100)
    stream.put("3", size=60)
    stream.put("4", size=10)

    batch = stream.batcher.cut()

    assert batch is not None
    assert ids(batch) == [item.record.id for item in batch.all] == ["1", "2"]
    assert ids(await stream.take()) == ["3", "4"]


@in_virtual_time
async def test_what_may_kill_the_process_is_cut_alone_whatever_has_come_since() -> None:
    stream = Stream(size=4)
    stream.put("killer", delivery_count=11)
    await asyncio.sleep(10)
    await stream.batcher.wait()
    stream.put("1")

    batches = [ids(await stream.take()) for _ in range(2)]

    assert batches == [["killer"], ["1"]]


@in_virtual_time
async def test_a_writer_that_finds_its_batch_taken_waits_for_the_next() -> None:
    stream = Stream(size=2)
    stream.put("1", "2")
    assert await stream.batcher.wait()
    await stream.take()

    assert stream.batcher.cut() is None


async def refill_after(stream: Stream, *batches: Batch[FakeRecord], pause: float) -> None:
    """Settle these, and let a slow broker make use of the room: two more at a time."""
    for batch in batches:
        stream.done(batch)
    for number in range(3):
        await asyncio.sleep(pause)
        stream.put(f"{number}-a", f"{number}-b")


def numbered(count: int) -> list[str]:
    return [str(number) for number in range(count)]


@in_virtual_time
async def test_a_backlog_goes_out_in_full_batches_although_the_broker_is_slow_to_go_on() -> None:
    """Fault 39."""
    stream = Stream(size=4, saturated_at=6)
    stream.put(*numbered(8))
    batches = [await stream.take(), await stream.take()]
    taking = asyncio.create_task(stream.take())

    await refill_after(stream, *batches, pause=0.1)

    batch = await taking
    assert (batch.size, batch.trigger) == (4, Trigger.SIZE)


@in_virtual_time
async def test_the_rest_of_a_backlog_does_not_wait_for_long() -> None:
    stream, start = Stream(size=4, saturated_at=6), now()
    stream.put(*numbered(7))
    stream.done(await stream.take())

    batch = await stream.take()

    assert (batch.size, batch.trigger) == (3, Trigger.IDLE)
    assert 0.2 < now() - start < 0.3


@in_virtual_time
async def test_a_trickle_does_not_wait_for_a_broker_that_had_no_more_to_send() -> None:
    stream = Stream(size=100, saturated_at=150)
    for _ in range(3):
        stream.put("1", "2")
        arrived = now()
        batch = await stream.take()
        assert (batch.trigger, now() - arrived <= 0.02) == (Trigger.IDLE, True)
        stream.done(batch)


@in_virtual_time
async def test_a_smaller_size_in_use_makes_smaller_batches_at_once() -> None:
    stream = Stream(size=100)
    stream.put(*numbered(99))
    taking = asyncio.create_task(stream.take())

    await asyncio.sleep(0)
    stream.size.too_large(100)
    stream.batcher.recheck()

    batch = await taking
    assert (batch.size, batch.trigger) == (50, Trigger.SIZE)


@in_virtual_time
async def test_the_interval_bounds_the_wait_where_idle_does_not() -> None:
    stream, start = Stream(size=500, flush_interval=2.0, idle=100.0), now()

    stream.put("1")

    batch = await stream.take()
    assert (batch.trigger, now() - start) == (Trigger.INTERVAL, 2.0)


@in_virtual_time
async def test_the_clock_of_a_batch_starts_with_its_first_record() -> None:
    """Fault 40."""
    stream = Stream(size=2, idle=100.0, flush_interval=1.0)
    stream.put("1", "2", "3")
    await stream.take()
    await asyncio.sleep(0.6)

    batch = await stream.take()

    assert now() - batch.items[0].delivery.received == 1.0


@in_virtual_time
async def test_closing_flushes_the_last_partial_batch_and_ends_every_writer() -> None:
    stream = Stream(size=500, flush_interval=60.0, idle=60.0)
    stream.put("1", "2")

    stream.batcher.close()

    batch = await stream.take()
    assert (ids(batch), batch.trigger) == (["1", "2"], Trigger.DRAIN)
    assert await stream.work() is None
    assert await stream.work() is None


@in_virtual_time
async def test_closing_ends_a_writer_that_waits() -> None:
    stream = Stream()
    waiting = [asyncio.create_task(stream.work()) for _ in range(3)]
    await asyncio.sleep(1)

    stream.batcher.close()

    assert [await task for task in waiting] == [None, None, None]


@in_virtual_time
async def test_a_batch_ends_before_an_id_in_flight_and_that_record_waits() -> None:
    stream = Stream(size=2)
    stream.put("1", "2", "3", "1", "4", "5")
    first, second = await stream.take(), await stream.take()
    assert ids(first) == ["1", "2"]
    assert ids(second) == ["3"]

    waiting = asyncio.create_task(stream.take())
    await asyncio.sleep(10)
    assert not waiting.done()
    stream.done(first)

    assert ids(await waiting) == ["1", "4"]


@in_virtual_time
async def test_a_barrier_flushes_what_is_before_it_and_waits_until_that_is_settled() -> None:
    """Fault 34."""
    stream = Stream(size=500, flush_interval=60.0, idle=60.0)
    stream.put("1", "2")
    stream.put_barrier()
    stream.put("3")
    batch = await stream.take()
    assert (ids(batch), batch.trigger) == (["1", "2"], Trigger.BARRIER)

    waiting = asyncio.create_task(stream.work())
    await asyncio.sleep(100)
    assert not waiting.done()
    stream.done(batch)

    assert isinstance(await waiting, Barrier)


@in_virtual_time
async def test_what_came_from_an_ended_channel_is_dropped_and_counted() -> None:
    stream = Stream(size=2)
    stream.put("1")
    stream.put_barrier()
    stream.put("2", "9", delivery_count=11)
    stream.epoch.ended = True
    stream.epoch = Epoch(2)

    stream.put("1", "2")

    batch = await stream.take()
    assert ids(batch) == ["1", "2"]
    assert stream.expired == 4


@in_virtual_time
async def test_a_control_message_of_an_ended_channel_holds_nothing_back() -> None:
    """Fault 91."""
    stream = Stream(size=2)
    waiting = asyncio.create_task(stream.take())
    await asyncio.sleep(0)
    stream.unsettled += 1  # a dead letter without its confirm
    stream.put_barrier()
    stream.epoch.ended = True
    stream.epoch, stream.unsettled = Epoch(2), 5  # of the new channel there are some as well

    stream.put("1", "2")

    async with asyncio.timeout(60):
        assert ids(await waiting) == ["1", "2"]


@in_virtual_time
async def test_what_may_kill_the_process_is_written_alone_and_after_the_others() -> None:
    stream = Stream(size=3)
    stream.put("killer", "accomplice", delivery_count=11)
    stream.put("1", "2", "3")

    batches = [ids(await stream.take()) for _ in range(3)]

    assert batches == [["1", "2", "3"], ["killer"], ["accomplice"]]


@in_virtual_time
async def test_what_may_kill_the_process_does_not_wait_for_the_end_of_a_backlog() -> None:
    stream, start = Stream(size=3), now()
    stream.put("killer", delivery_count=11)

    for number in range(200):
        stream.put(*(f"{number}-{n}" for n in range(3)))
        batch = await stream.take()
        await asyncio.sleep(0.1)
        stream.done(batch)
        if ids(batch) == ["killer"]:
            break

    assert ids(batch) == ["killer"]
    assert 10 < now() - start < 11


@in_virtual_time
async def test_versions_of_one_id_keep_their_order_beside_the_stream_too() -> None:
    stream = Stream(size=2)
    stream.put("x", "y")
    first = await stream.take()
    stream.put("x")
    stream.put("x", delivery_count=11)
    stream.put("x")

    waiting = asyncio.create_task(stream.take())
    await asyncio.sleep(60)
    assert not waiting.done()
    stream.done(first)

    tags = []
    for batch in (await waiting, None, None):
        batch = batch or await stream.take()
        tags.append([item.delivery.tag for item in batch.items])
        stream.done(batch)
    assert tags == [[3], [4], [5]]


@in_virtual_time
async def test_a_barrier_does_not_wait_for_what_came_after_it_and_is_written_alone() -> None:
    stream = Stream(size=2)
    stream.put_barrier()
    stream.put("x")
    stream.put("x", delivery_count=11)

    assert isinstance(await stream.work(), Barrier)


@in_virtual_time
async def test_what_may_go_ahead_of_a_blocked_stream_has_nothing_of_its_id_before_it() -> None:
    stream = Stream(size=2)
    stream.put("suspect", "y")
    batch = await stream.take()
    stream.batcher.done([item for item in batch.items if item.record.id == "y"])
    stream.put("suspect")
    stream.put_barrier()
    stream.put("suspect", "z")

    ahead = stream.batcher.take_ahead()

    assert ahead is not None
    assert ahead.record.id == "z"
    assert stream.batcher.take_ahead() is None


@in_virtual_time
async def test_a_cancelled_writer_passes_its_turn_on() -> None:
    stream = Stream(size=1)
    first, second = asyncio.create_task(stream.take()), asyncio.create_task(stream.take())
    await asyncio.sleep(0.1)

    stream.put("1")
    first.cancel()

    assert ids(await second) == ["1"]


@in_virtual_time
async def test_giving_up_leaves_what_is_blocked() -> None:
    stream = Stream()
    stream.put("suspect")
    batch = await stream.take()
    stream.put_barrier()
    waiting = asyncio.create_task(stream.work())
    stream.batcher.close()
    await asyncio.sleep(1)
    assert batch.items
    assert not waiting.done()

    stream.batcher.give_up()

    assert await waiting is None


def item(tag: int, record_id: str, version: str | None) -> Item[FakeRecord]:
    return Item(Delivery(tag, Epoch(1), b"", 0.0, None, None, 0, Properties), FakeRecord(record_id, version=version))


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from([None, "20260101", "20260201"])), min_size=1))
def test_every_id_stands_once_and_nothing_is_forgotten(stream: list[tuple[str, str | None]]) -> None:
    items = [item(tag, record_id, version) for tag, (record_id, version) in enumerate(stream)]

    batch = resolve(list(items), Trigger.SIZE)

    winners = ids(batch)
    assert len(set(winners)) == len(winners) == len({record_id for record_id, _ in stream})
    assert batch.size == len(items)


@given(st.lists(st.integers(0, 20)), st.integers(1, 5), st.integers(1, 30))
def test_a_first_run_fits_a_batch_and_is_as_long_as_it_can_be(weights: list[int], size: int, max_bytes: int) -> None:
    items = [
        Item(Delivery(tag, Epoch(1), b"x" * weight, 0.0, None, None, 0, Properties), FakeRecord(str(tag)))
        for tag, weight in enumerate(weights)
    ]

    run = first_run(items, size=size, max_bytes=max_bytes)

    assert run == items[: len(run)]
    assert bool(run) == bool(items)
    assert len(run) <= size
    assert len(run) <= 1 or sum(weights[: len(run)]) <= max_bytes
    assert len(run) in (size, len(items)) or sum(weights[: len(run) + 1]) > max_bytes


@given(st.lists(st.sampled_from([None, "20260101", "20260201"]), min_size=1))
def test_what_counts_more_is_ranked_first_and_nothing_is_forgotten(versions: list[str | None]) -> None:
    items = [item(tag, "a", version) for tag, version in enumerate(versions)]

    order = ranked(items)

    assert set(order) == set(items)
    assert order[0] is resolve(list(items), Trigger.SIZE).items[0]


@given(st.lists(st.sampled_from(["20260101", "20260201", "20260301"]), min_size=1, max_size=8))
def test_the_highest_version_wins_and_among_equals_the_last(versions: list[str]) -> None:
    """Fault 22."""
    items = [item(tag, "a", version) for tag, version in enumerate(versions)]

    winner = resolve(list(items), Trigger.SIZE).items[0]

    assert winner.record.version == max(versions)
    assert winner.delivery.tag == max(tag for tag, version in enumerate(versions) if version == max(versions))


def test_without_versions_the_last_to_arrive_wins() -> None:
    assert resolve([item(1, "a", None), item(2, "a", None)], Trigger.SIZE).items[0].delivery.tag == 2
