"""The breaker: one probe at a time, the oldest batch first, nobody spins, nobody waits for nothing."""

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise

import pytest

from common.errors import RecordsRefused, Refusal, StoreUnavailable, WriteConflict
from common.storing.breaker import CONFLICT_RETRIES, Breaker, Released
from tests.virtual_time import in_virtual_time


class Store:
    """Up or down; counts who asked."""

    def __init__(self) -> None:
        self.down = True
        self.asked: list[str] = []
        self.at_once = 0
        self.most_at_once = 0

    def write(self, name: str) -> Callable[[], "asyncio.Future[str]"]:
        async def attempt() -> str:
            self.asked.append(name)
            self.at_once += 1
            self.most_at_once = max(self.at_once, self.most_at_once)
            await asyncio.sleep(0.01)
            self.at_once -= 1
            if self.down:
                raise StoreUnavailable("connection refused")
            return name

        return attempt  # type: ignore[return-value]  # a coroutine function is awaited like a future


def outage() -> Breaker:
    return Breaker(service="tableinator", store="PostgreSQL", rng=random.Random(1))


def never() -> bool:
    return False


@in_virtual_time
async def test_while_the_store_is_away_only_the_oldest_holder_probes() -> None:
    breaker, store = outage(), Store()
    async with asyncio.TaskGroup() as tasks:
        for age, name in enumerate(["oldest", "middle", "youngest"]):
            tasks.create_task(breaker.attempt(store.write(name), since=float(age), gone=never))
        await asyncio.sleep(0.05)
        store.asked.clear()
        store.most_at_once = 0

        await asyncio.sleep(60)
        assert set(store.asked) == {"oldest"}
        assert store.most_at_once == 1
        store.down = False


@in_virtual_time
async def test_holding_for_ten_minutes_asks_the_store_less_than_once_a_second() -> None:
    """Fault 14."""
    breaker, store = outage(), Store()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(breaker.attempt(store.write("a"), since=0, gone=never))
        await asyncio.sleep(600)
        store.down = False

    assert len(store.asked) < 700


@in_virtual_time
async def test_a_store_that_wants_to_be_left_alone_is_asked_no_sooner() -> None:
    """Fault 85."""
    breaker, asked = outage(), list[float]()
    now = asyncio.get_running_loop().time

    async def refuse() -> str:
        asked.append(now())
        raise StoreUnavailable("Unauthorized", pause=(30.0, 60.0))

    async def hold(since: float) -> None:
        with suppress(Released):
            await breaker.attempt(refuse, since=since, gone=never)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(hold(0.0))
        tasks.create_task(hold(1.0))
        await asyncio.sleep(600)
        breaker.stop()

    pauses = [after - before for before, after in pairwise(asked[1:])]  # both fail at once, the first time
    assert len(pauses) >= 9
    assert all(30.0 <= pause <= 60.1 for pause in pauses)


@in_virtual_time
async def test_everybody_goes_on_within_two_seconds_of_the_stores_return() -> None:
    breaker, store = outage(), Store()
    async with asyncio.TaskGroup() as tasks:
        holders = [tasks.create_task(breaker.attempt(store.write(str(n)), since=n, gone=never)) for n in range(5)]
        await asyncio.sleep(300)
        store.down = False
        await asyncio.sleep(2.1)

        assert all(holder.done() for holder in holders)
    assert not breaker.is_open


@in_virtual_time
async def test_a_refusal_is_an_answer_and_closes_the_breaker() -> None:
    breaker = outage()
    answers = [StoreUnavailable("away"), RecordsRefused(Refusal("E", "", ""), positions=None, certain=True)]

    async def write() -> None:
        raise answers.pop(0)

    with pytest.raises(RecordsRefused):
        await breaker.attempt(write, since=0, gone=never)

    assert not breaker.is_open


@in_virtual_time
async def test_a_conflict_is_tried_again_at_once_and_a_handful_of_times() -> None:
    breaker, store = outage(), Store()
    tries = 0

    async def write() -> None:
        nonlocal tries
        tries += 1
        if tries <= CONFLICT_RETRIES:
            raise WriteConflict("deadlock")

    await breaker.attempt(write, since=0, gone=never)

    assert tries == CONFLICT_RETRIES + 1
    assert breaker.episodes == 0
    assert store.asked == []


@in_virtual_time
async def test_draining_releases_every_holder_at_once() -> None:
    breaker, store = outage(), Store()
    holders = [asyncio.create_task(breaker.attempt(store.write(str(n)), since=n, gone=never)) for n in range(3)]
    await asyncio.sleep(10)
    started = asyncio.get_running_loop().time()

    breaker.stop()

    results = [await asyncio.wait_for(asyncio.shield(_outcome(holder)), 5) for holder in holders]
    assert results == [Released] * 3
    assert asyncio.get_running_loop().time() - started < 0.1


@in_virtual_time
async def test_a_holder_whose_channel_ended_is_released_and_the_next_one_probes() -> None:
    breaker, store = outage(), Store()
    ended = False
    old = asyncio.create_task(breaker.attempt(store.write("old"), since=0, gone=lambda: ended))
    new = asyncio.create_task(breaker.attempt(store.write("new"), since=1, gone=never))
    await asyncio.sleep(10)

    ended = True
    breaker.release()
    store.down = False

    assert await _outcome(old) is Released
    assert await new == "new"


@in_virtual_time
async def test_a_cancelled_probe_hands_its_turn_on() -> None:
    breaker, store = outage(), Store()
    old = asyncio.create_task(breaker.attempt(store.write("old"), since=0, gone=never))
    new = asyncio.create_task(breaker.attempt(store.write("new"), since=1, gone=never))
    await asyncio.sleep(10)
    while store.at_once == 0:  # until the probe is under way
        await asyncio.sleep(0.001)

    old.cancel()
    store.down = False

    assert await new == "new"


async def _outcome(task: "asyncio.Task[object]") -> object:
    try:
        return await task
    except Released:
        return Released
