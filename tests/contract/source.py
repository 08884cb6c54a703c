"""The Source contract, as a suite: the in-memory fake and every real source pass it.

To run it, subclass `SourceContract` in a `test_*.py` and give it a function-scoped fixture `harness` over an empty
queue. A harness (`SourceHarness`) makes sources on that queue and does to it what a broker or a network does.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress

import pytest

from common.delivery import Delivery, Source
from tests.contract.cancelling import cancel_at

PATIENCE = 15.0
"""Seconds after which a source that does not do what it should has failed."""


class SourceHarness(ABC):
    """One queue, seen from the other side."""

    @abstractmethod
    def make(self, *, prefetch: int = 100) -> Source:
        """A new source on the queue; they follow each other."""

    @abstractmethod
    async def publish(self, *bodies: bytes) -> None:
        """Put messages into the queue, which exists as soon as a source has run."""

    @abstractmethod
    async def ready(self) -> int:
        """How many messages are in the queue and not given out."""

    @abstractmethod
    async def lose_connection(self) -> None:
        """End every source's connection, as a network does; the next one may succeed at once."""

    async def delete_queue(self) -> bool:
        """Have the broker cancel the consumer because its queue is gone; False if that can't be done."""
        return False


@asynccontextmanager
async def running(source: Source) -> AsyncIterator[Source]:
    """Run a source for as long as the block lasts."""
    async with asyncio.timeout(4 * PATIENCE), asyncio.TaskGroup() as tasks:
        tasks.create_task(source.run())
        try:
            await until(lambda: source.connected)
            yield source
        finally:
            await source.close()


async def until(fact: Callable[[], object]) -> None:
    """Wait for something that happens on the other side."""
    async with asyncio.timeout(PATIENCE):
        while not fact():
            await asyncio.sleep(0.005)


async def arrived(source: Source, count: int) -> None:
    """Wait until so many deliveries have arrived, or until it is clear that this source counts what was received."""
    with suppress(TimeoutError):
        async with asyncio.timeout(1.0):
            while source.unsettled < count:
                await asyncio.sleep(0.01)


async def becomes_ready(harness: SourceHarness, count: int) -> None:
    """Assert that so many messages are in the queue; a broker takes a moment to put back what a channel had."""
    ready = await harness.ready()
    with suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE):
            while ready != count:
                await asyncio.sleep(0.02)
                ready = await harness.ready()
    assert ready == count


async def take(source: Source, count: int) -> list[Delivery]:
    """Receive at least so many deliveries."""
    deliveries: list[Delivery] = []
    async with asyncio.timeout(PATIENCE):
        while len(deliveries) < count:
            burst = await source.receive()
            assert burst, "an empty burst means that the source was stopped"
            deliveries.extend(burst)
    return deliveries


def messages(count: int, first: int = 0) -> list[bytes]:
    """Bodies that can be told apart and sorted."""
    return [f"{number:05d}".encode() for number in range(first, first + count)]


def bodies(deliveries: Sequence[Delivery]) -> list[bytes]:
    """What was delivered, in order."""
    return [delivery.body for delivery in deliveries]


class SourceContract:
    """Every source's promises, one test each."""

    # Receiving.

    async def test_deliveries_come_in_bursts_in_the_order_of_the_queue(self, harness: SourceHarness) -> None:
        async with running(harness.make(prefetch=500)) as source:
            await harness.publish(*messages(300))

            deliveries = await take(source, 300)

        assert bodies(deliveries) == messages(300)

    async def test_everything_that_has_arrived_is_one_burst(self, harness: SourceHarness) -> None:
        async with running(harness.make(prefetch=500)) as source:
            await harness.publish(*messages(50))
            await arrived(source, 50)

            burst = await source.receive()

        assert len(burst) == 50

    async def test_tags_count_up_without_a_hole(self, harness: SourceHarness) -> None:
        async with running(harness.make(prefetch=50)) as source:
            await harness.publish(*messages(120))
            deliveries: list[Delivery] = []
            while len(deliveries) < 120:
                burst = await take(source, 1)
                source.settle(burst)
                deliveries.extend(burst)

        assert [delivery.tag for delivery in deliveries] == list(range(1, 121))

    async def test_a_first_delivery_has_a_count_of_zero(self, harness: SourceHarness) -> None:
        async with running(harness.make()) as source:
            await harness.publish(*messages(1))

            (delivery,) = await take(source, 1)

        assert delivery.delivery_count == 0

    async def test_receiving_cancelled_loses_nothing(self, harness: SourceHarness) -> None:
        async with running(harness.make()) as source:
            assert await cancel_at(source.receive(), suspension=1)
            await harness.publish(*messages(3))

            assert bodies(await take(source, 3)) == messages(3)

    # The prefetch.

    async def test_no_more_than_the_prefetch_is_given_out(self, harness: SourceHarness) -> None:
        async with running(harness.make(prefetch=10)) as source:
            await harness.publish(*messages(25))
            await take(source, 10)

            assert (await harness.ready(), source.unsettled) == (15, 10)

    async def test_settling_makes_room_for_more(self, harness: SourceHarness) -> None:
        received: list[Delivery] = []
        async with running(harness.make(prefetch=10)) as source:
            await harness.publish(*messages(95))
            while len(received) < 95:
                burst = await take(source, 1)
                received.extend(burst)
                source.settle(burst)

        assert bodies(received) == messages(95)
        await becomes_ready(harness, 0)

    async def test_a_gap_does_not_stop_the_stream(self, harness: SourceHarness) -> None:
        async with running(harness.make(prefetch=10)) as source:
            await harness.publish(*messages(60))
            first, *others = await take(source, 10)
            received = [first, *others]
            while len(received) < 60:
                source.settle(others)
                others = await take(source, 1)
                received.extend(others)

        assert bodies(received) == messages(60)

    # Settling.

    async def test_what_is_settled_is_acknowledged_and_nothing_else(self, harness: SourceHarness) -> None:
        """Fault 12."""
        async with running(harness.make()) as source:
            await harness.publish(*messages(10))
            deliveries = await take(source, 10)
            source.settle(deliveries[:4])

        await becomes_ready(harness, 6)
        async with running(harness.make()) as source:
            assert bodies(await take(source, 6)) == messages(6, first=4)

    async def test_what_is_settled_behind_a_gap_is_acknowledged_too(self, harness: SourceHarness) -> None:
        async with running(harness.make()) as source:
            await harness.publish(*messages(10))
            deliveries = await take(source, 10)
            source.settle([deliveries[9], deliveries[3], deliveries[4], deliveries[0]])

        async with running(harness.make()) as source:
            left = bodies(await take(source, 6))
        assert left == [body for number, body in enumerate(messages(10)) if number not in (0, 3, 4, 9)]

    async def test_settling_needs_no_close_to_reach_the_broker(self, harness: SourceHarness) -> None:
        async with running(harness.make()) as source:
            await harness.publish(*messages(10))
            source.settle((await take(source, 10))[:7])
            await asyncio.sleep(0.2)
            await harness.lose_connection()
            left = await take(source, 3)

        assert bodies(left) == messages(3, first=7)

    async def test_settling_twice_is_a_bug_and_said_to_be(self, harness: SourceHarness) -> None:
        """Fault 12."""
        async with running(harness.make()) as source:
            await harness.publish(*messages(2))
            deliveries = await take(source, 2)
            source.settle(deliveries)

            with pytest.raises(ValueError, match="not outstanding"):
                source.settle(deliveries[:1])

    async def test_the_unsettled_and_the_oldest_are_known(self, harness: SourceHarness) -> None:
        async with running(harness.make()) as source:
            nothing = (source.unsettled, source.oldest)
            await harness.publish(*messages(2))
            early = await take(source, 2)
            await harness.publish(*messages(2, first=2))
            late = await take(source, 2)
            four = (source.unsettled, source.oldest)
            source.settle([early[0], late[0]])
            two = (source.unsettled, source.oldest)
            source.settle([early[1]])
            one = (source.unsettled, source.oldest)
            source.settle([late[1]])
            none = (source.unsettled, source.oldest)

        assert nothing == none == (0, None)
        assert four == (4, early[0].received)
        assert two == (2, early[0].received)
        assert one == (1, late[0].received)

    # Stopping.

    async def test_stop_drains_and_then_the_stream_ends(self, harness: SourceHarness) -> None:
        async with running(harness.make(prefetch=500)) as source:
            await harness.publish(*messages(200))
            received = list(await take(source, 1))

            source.stop()
            async with asyncio.timeout(PATIENCE):
                while burst := await source.receive():
                    received.extend(burst)

            assert bodies(received) == messages(len(received))
            assert await source.receive() == []
            source.settle(received)
        await becomes_ready(harness, 200 - len(received))

    async def test_after_a_stop_nothing_new_is_given_out(self, harness: SourceHarness) -> None:
        async with running(harness.make()) as source:
            source.stop()
            async with asyncio.timeout(PATIENCE):
                assert await source.receive() == []
            await harness.publish(*messages(5))

            await becomes_ready(harness, 5)

    async def test_what_is_settled_after_a_stop_is_acknowledged(self, harness: SourceHarness) -> None:
        async with running(harness.make()) as source:
            await harness.publish(*messages(5))
            deliveries = await take(source, 5)
            source.stop()
            assert await source.receive() == []

            source.settle(deliveries)

        await becomes_ready(harness, 0)

    async def test_after_a_stop_the_last_settlement_is_heard_of(self, harness: SourceHarness) -> None:
        async with running(harness.make()) as source, asyncio.TaskGroup() as tasks:
            await harness.publish(*messages(2))
            first, last = await take(source, 2)
            source.stop()
            assert await source.receive() == []
            waiting = tasks.create_task(source.until_settled())

            source.settle([last])
            await asyncio.sleep(0)
            assert not waiting.done()
            source.settle([first])

            async with asyncio.timeout(PATIENCE):
                await waiting

    async def test_a_receiver_that_waits_hears_of_the_stop(self, harness: SourceHarness) -> None:
        async with running(harness.make()) as source, asyncio.TaskGroup() as tasks:
            receiving = tasks.create_task(take_one(source))
            await asyncio.sleep(0)

            source.stop()

            async with asyncio.timeout(PATIENCE):
                assert await receiving == []

    async def test_a_source_stopped_before_it_ran_ends_at_once(self, harness: SourceHarness) -> None:
        source = harness.make()
        source.stop()

        async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as tasks:
            tasks.create_task(source.run())
            assert await source.receive() == []
            await source.close()

    # Closing.

    async def test_close_flushes_the_last_acknowledgement(self, harness: SourceHarness) -> None:
        async with running(harness.make()) as source:
            await harness.publish(*messages(20))
            source.settle(await take(source, 20))
            await source.close()

        await becomes_ready(harness, 0)

    async def test_close_gives_back_what_is_not_settled_in_order(self, harness: SourceHarness) -> None:
        async with running(harness.make()) as source:
            await harness.publish(*messages(20))
            deliveries = await take(source, 20)
            await source.close()

        assert all(delivery.expired for delivery in deliveries)
        async with running(harness.make()) as source:
            again = await take(source, 20)
        assert bodies(again) == messages(20)

    async def test_closing_twice_is_closing_once(self, harness: SourceHarness) -> None:
        async with running(harness.make()) as source:
            source.stop()
            source.stop()
            await source.close()
            await source.close()

            assert await source.receive() == []

    async def test_after_close_settling_is_passed_over(self, harness: SourceHarness) -> None:
        async with running(harness.make()) as source:
            await harness.publish(*messages(3))
            deliveries = await take(source, 3)
            await source.close()

            source.settle(deliveries)

        await becomes_ready(harness, 3)

    async def test_a_source_that_never_ran_can_be_closed(self, harness: SourceHarness) -> None:
        async with asyncio.timeout(PATIENCE):
            await harness.make().close()

    # Giving back.

    async def test_what_is_handed_back_comes_again_in_order_as_a_new_epoch(self, harness: SourceHarness) -> None:
        async with running(harness.make()) as source:
            await harness.publish(*messages(20))
            first = await take(source, 20)
            source.settle(first[3:6])

            await source.hand_back()
            assert all(delivery.expired for delivery in first)
            await becomes_ready(harness, 17)
            await source.resume()
            again = await take(source, 17)

        assert bodies(again) == [*messages(3), *messages(14, first=6)]
        assert {delivery.delivery_count for delivery in again} == {1}
        assert min(delivery.epoch.number for delivery in again) > first[0].epoch.number

    async def test_handing_back_has_nothing_more_given_out(self, harness: SourceHarness) -> None:
        """Messages that the last acknowledgements make room for would come back with a raised count of deliveries."""
        async with running(harness.make(prefetch=20)) as source:
            await harness.publish(*messages(40))
            source.settle((await take(source, 20))[1:10])

            await source.hand_back()
            await becomes_ready(harness, 31)
            await source.resume()
            counts: list[int] = []
            while len(counts) < 31:
                burst = await take(source, 1)
                counts.extend(delivery.delivery_count for delivery in burst)
                source.settle(burst)

        assert counts == [1] * 11 + [0] * 20

    async def test_what_is_away_before_it_runs_takes_nothing(self, harness: SourceHarness) -> None:
        """Fault 98. What is taken and given back is one delivery nearer to its limit."""
        async with running(harness.make()):
            pass  # there is a queue from now on
        source = harness.make()
        await source.hand_back()
        await harness.publish(*messages(5))
        async with asyncio.timeout(4 * PATIENCE), asyncio.TaskGroup() as tasks:
            tasks.create_task(source.run())
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1.0):
                    await source.receive()

            await source.resume()

            assert [delivery.delivery_count for delivery in await take(source, 5)] == [0] * 5
            await source.close()

    async def test_while_handed_back_nothing_is_received(self, harness: SourceHarness) -> None:
        async with running(harness.make()) as source:
            await harness.publish(*messages(5))
            await take(source, 5)

            await source.hand_back()

            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await source.receive()
            assert (source.connected, source.unsettled, source.oldest) == (False, 0, None)

    async def test_handing_back_nothing_and_resuming_changes_nothing(self, harness: SourceHarness) -> None:
        async with running(harness.make()) as source:
            for _ in range(3):
                await source.hand_back()
                await source.hand_back()
                await source.resume()
                await source.resume()
            await harness.publish(*messages(5))

            assert bodies(await take(source, 5)) == messages(5)

    async def test_a_stop_while_handed_back_ends_the_stream(self, harness: SourceHarness) -> None:
        async with running(harness.make()) as source:
            await harness.publish(*messages(5))
            await take(source, 5)
            await source.hand_back()

            source.stop()

            async with asyncio.timeout(PATIENCE):
                assert await source.receive() == []
        await becomes_ready(harness, 5)

    # Epochs that end unasked.

    async def test_a_lost_connection_ends_the_epoch_and_everything_comes_again(self, harness: SourceHarness) -> None:
        """Fault 48."""
        async with running(harness.make()) as source:
            await harness.publish(*messages(20))
            first = await take(source, 20)

            await harness.lose_connection()
            again = await take(source, 20)

            assert all(delivery.expired for delivery in first)
            assert bodies(again) == messages(20)
            assert min(delivery.epoch.number for delivery in again) > first[0].epoch.number
            assert source.unsettled == 20

    async def test_a_receiver_waits_through_a_lost_connection(self, harness: SourceHarness) -> None:
        async with running(harness.make()) as source, asyncio.TaskGroup() as tasks:
            receiving = tasks.create_task(take_one(source))
            await asyncio.sleep(0)

            await harness.lose_connection()
            await harness.publish(*messages(1))

            async with asyncio.timeout(PATIENCE):
                assert bodies(await receiving) == messages(1)

    async def test_settling_what_has_expired_acknowledges_nothing(self, harness: SourceHarness) -> None:
        """Fault 17."""
        async with running(harness.make()) as source:
            await harness.publish(*messages(5))
            first = await take(source, 5)
            await harness.lose_connection()
            again = await take(source, 5)

            source.settle(first)

            assert source.unsettled == 5
            source.settle([first[0], again[0]])
            assert source.unsettled == 4
        await becomes_ready(harness, 4)

    async def test_settling_while_the_connection_is_lost_is_passed_over(self, harness: SourceHarness) -> None:
        """Fault 17."""
        async with running(harness.make()) as source:
            await harness.publish(*messages(5))
            first = await take(source, 5)
            await harness.lose_connection()

            source.settle(first)  # perhaps before anybody has noticed

            await take(source, 5)
            assert source.unsettled == 5

    async def test_a_stop_with_the_connection_lost_ends_the_stream(self, harness: SourceHarness) -> None:
        async with running(harness.make()) as source:
            await harness.publish(*messages(5))
            await take(source, 5)
            await harness.lose_connection()

            source.stop()

            async with asyncio.timeout(PATIENCE):
                while await source.receive():
                    pass

    async def test_after_a_stop_a_lost_connection_leaves_nothing_to_settle(self, harness: SourceHarness) -> None:
        async with running(harness.make()) as source, asyncio.TaskGroup() as tasks:
            await harness.publish(*messages(5))
            await take(source, 5)
            source.stop()
            assert await source.receive() == []
            waiting = tasks.create_task(source.until_settled())

            await harness.lose_connection()

            async with asyncio.timeout(PATIENCE):
                await waiting

    async def test_a_consumer_whose_queue_was_deleted_comes_back(self, harness: SourceHarness) -> None:
        """Fault 52."""
        async with running(harness.make()) as source:
            await harness.publish(*messages(3))
            first = await take(source, 3)
            if not await harness.delete_queue():
                pytest.skip("this broker deletes no queues")
            await until(lambda: first[0].expired and source.connected)

            await harness.publish(*messages(3, first=10))

            assert bodies(await take(source, 3)) == messages(3, first=10)

    # Cancelled at every await.

    async def test_handing_back_cancelled_anywhere_can_be_repeated(self, harness: SourceHarness) -> None:
        """Fault 15."""
        async with running(harness.make()) as source:
            await harness.publish(*messages(5))
            suspension, reached = 0, True
            while reached:
                suspension += 1
                await until(lambda: source.connected)
                source.settle([])
                await take(source, 5)
                reached = await cancel_at(source.hand_back(), suspension=suspension)
                await source.hand_back()
                assert source.unsettled == 0
                await source.resume()

            assert bodies(await take(source, 5)) == messages(5)

    async def test_closing_cancelled_anywhere_can_be_repeated(self, harness: SourceHarness) -> None:
        suspension, reached = 0, True
        while reached:
            suspension += 1
            async with running(harness.make()) as source:
                await harness.publish(*messages(5))
                source.settle(await take(source, 5))
                source.stop()
                reached = await cancel_at(source.close(), suspension=suspension)
                await source.close()
                assert await source.receive() == []
            await self.empty(harness)

    async def test_a_cancelled_run_gives_everything_back(self, harness: SourceHarness) -> None:
        source = harness.make()
        async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as tasks:
            task = tasks.create_task(source.run())
            await until(lambda: source.connected)
            await harness.publish(*messages(5))
            await take(source, 5)

            task.cancel()
            await asyncio.wait([task])
            await source.close()

        async with running(harness.make()) as other:
            assert bodies(await take(other, 5)) == messages(5)

    @staticmethod
    async def empty(harness: SourceHarness) -> None:
        """Take whatever a cancelled acknowledgement has left."""
        if count := await harness.ready():
            async with running(harness.make()) as source:
                source.settle(await take(source, count))


async def take_one(source: Source) -> Sequence[Delivery]:
    """Receive once."""
    return await source.receive()
