"""The breaker: one attempt at a time while the store is away, nobody spins, nobody waits for nothing."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import cycle, pairwise
from typing import TypeVar

import pytest
from structlog.testing import capture_logs

from common.backoff import DEFAULT, Backoff, Jitter, Strategy
from common.errors import RecordsRefused, Refusal, SinkError, StoreUnavailable, WriteConflict
from common.storing.breaker import CONFLICT_RETRIES, Breaker, Released
from common.telemetry.metrics import REGISTRY
from tests.virtual_time import in_virtual_time

T = TypeVar("T")

REFUSED = RecordsRefused(Refusal("E", "", ""), positions=None, certain=True)


class Store:
    """Fails as it is told, probes and writes each in their way; counts who asked."""

    def __init__(self) -> None:
        self.error: SinkError | None = StoreUnavailable("connection refused")
        self.probe_error: SinkError | None = None
        """What a probe meets, if it is not what a write meets."""
        self.is_kind_to_probes = False
        self.asked: list[str] = []
        self.at_once = 0
        self.most_at_once = 0

    async def write(self, name: str) -> str:
        await self._ask(name, self.error)
        return name

    async def probe(self) -> None:
        await self._ask("probe", self.probe_error if self.is_kind_to_probes else self.error)

    async def _ask(self, name: str, error: SinkError | None) -> None:
        self.asked.append(name)
        self.at_once += 1
        self.most_at_once = max(self.at_once, self.most_at_once)
        try:
            await asyncio.sleep(0.01)
        finally:
            self.at_once -= 1
        if error is not None:
            raise error

    def asked_by_writers(self) -> list[str]:
        return [name for name in self.asked if name != "probe"]


@asynccontextmanager
async def running(backoff: Backoff = DEFAULT, *, service: str = "tableinator") -> AsyncIterator[tuple[Breaker, Store]]:
    """A breaker that probes."""
    breaker = Breaker(service=service, store="PostgreSQL", backoff=backoff, rng=random.Random(1))
    async with asyncio.TaskGroup() as around:
        probing = around.create_task(breaker.run())
        yield breaker, Store()
        probing.cancel()


def never() -> bool:
    return False


async def attempt(
    breaker: Breaker, store: Store, write: Callable[[], Awaitable[T]], *, gone: Callable[[], bool] = never
) -> list[T]:
    """Write through the breaker."""
    answers = []
    async for each in breaker.attempts(store.probe, gone=gone):
        with each:
            answers.append(await write())
    return answers


def writing(
    breaker: Breaker, store: Store, name: str, *, gone: Callable[[], bool] = never
) -> "asyncio.Task[list[str]]":
    return asyncio.create_task(attempt(breaker, store, lambda: store.write(name), gone=gone))


@in_virtual_time
async def test_while_the_store_is_away_nobody_writes_and_one_probe_at_a_time_asks() -> None:
    async with running() as (breaker, store):
        tasks = [writing(breaker, store, name) for name in ("a", "b", "c")]
        await asyncio.sleep(0.05)
        store.asked.clear()
        store.most_at_once = 0

        await asyncio.sleep(60)

        assert set(store.asked) == {"probe"}
        assert store.most_at_once == 1
        store.error = None
        await asyncio.gather(*tasks)


@in_virtual_time
async def test_holding_for_ten_minutes_asks_the_store_less_than_once_a_second() -> None:
    """Fault 14."""
    async with running() as (breaker, store):
        task = writing(breaker, store, "a")
        await asyncio.sleep(600)
        store.error = None
        await task

    assert len(store.asked) < 700


@in_virtual_time
async def test_a_store_that_wants_to_be_left_alone_is_asked_no_sooner() -> None:
    """Fault 85."""
    asked, now = list[float](), asyncio.get_running_loop().time

    async with running() as (breaker, store):

        async def refuse() -> None:
            asked.append(now())
            raise StoreUnavailable("Unauthorized", pause=(30.0, 60.0))

        store.probe = refuse  # type: ignore[method-assign]
        holders = [asyncio.create_task(attempt(breaker, store, refuse)) for _ in range(2)]
        await asyncio.sleep(600)
        breaker.stop()
        await asyncio.wait(holders)

    assert all(isinstance(holder.exception(), Released) for holder in holders)
    pauses = [after - before for before, after in pairwise(asked)]
    assert len(pauses) >= 9
    assert all(30.0 <= pause <= 60.1 for pause in pauses)


@in_virtual_time
async def test_a_store_that_is_away_is_asked_as_the_settings_say() -> None:
    asked, now = list[float](), asyncio.get_running_loop().time

    async with running(Backoff(Strategy.LINEAR, Jitter.NONE, base=1.0, cap=3.0)) as (breaker, store):

        async def refuse() -> None:
            asked.append(now())
            raise StoreUnavailable("away")

        store.probe = refuse  # type: ignore[method-assign]
        task = asyncio.create_task(attempt(breaker, store, refuse))
        await asyncio.sleep(13)
        task.cancel()

    assert [after - before for before, after in pairwise(asked)] == pytest.approx([1.0, 2.0, 3.0, 3.0, 3.0])


@in_virtual_time
async def test_an_outage_right_behind_another_waits_for_none_of_the_delays_of_that() -> None:
    """A write that began before the outage commits in the middle of a long wait, and the next one fails."""
    async with running(Backoff(Strategy.EXPONENTIAL, Jitter.NONE, base=0.1, cap=60.0)) as (breaker, store):
        slow = asyncio.get_running_loop().create_future()
        before = asyncio.create_task(attempt(breaker, store, lambda: slow))
        await asyncio.sleep(0.01)
        task = writing(breaker, store, "a")
        await asyncio.sleep(60)  # the next probe is the one after 102.3 s
        assert breaker.next_trial is not None and breaker.next_trial > asyncio.get_running_loop().time() + 30

        store.asked.clear()
        slow.set_result(None)
        await asyncio.sleep(0.2)

        assert "probe" in store.asked
        store.error = None
        await asyncio.gather(task, before)


@in_virtual_time
async def test_an_outage_in_the_moment_of_a_commit_has_delays_of_its_own() -> None:
    async with running(Backoff(Strategy.EXPONENTIAL, Jitter.NONE, base=0.1, cap=60.0)) as (breaker, store):
        loop = asyncio.get_running_loop()
        slow, failing = loop.create_future(), loop.create_future()
        begun = [asyncio.create_task(attempt(breaker, store, answer)) for answer in (lambda: slow, lambda: failing)]
        await asyncio.sleep(0.01)
        begun.append(writing(breaker, store, "a"))
        await asyncio.sleep(60)

        store.asked.clear()
        slow.set_result(None)
        failing.set_exception(StoreUnavailable("away again"))
        await asyncio.sleep(0.2)

        assert "probe" in store.asked
        for task in begun:
            task.cancel()


@in_virtual_time
async def test_what_state_it_is_in_is_shown_with_its_failures_and_the_next_trial() -> None:
    def shown(name: str, **labels: str) -> float | None:
        return REGISTRY.get_sample_value(f"spindle_store_breaker_{name}", {**of, **labels})

    def states() -> list[str]:
        return [state for state in ("closed", "open", "half-open") if shown("state", state=state)]

    of = {"service": "shown", "store": "PostgreSQL"}
    async with running(Backoff(Strategy.FIXED, Jitter.NONE, base=5.0, cap=5.0), service="shown") as (breaker, store):
        assert (states(), shown("open"), shown("failures"), breaker.next_trial) == (["closed"], 0, 0, None)

        task = writing(breaker, store, "a")
        await asyncio.sleep(6.02)  # the write, and a probe
        assert (states(), shown("open"), shown("failures")) == (["open"], 1, 2)
        assert breaker.next_trial == pytest.approx(asyncio.get_running_loop().time() + 4.0, abs=0.01)

        store.error = None
        while not store.asked_by_writers()[1:]:  # until the one write is under way
            await asyncio.sleep(0.001)
        assert (states(), shown("open"), shown("failures"), breaker.next_trial) == (["half-open"], 1, 2, None)

        await task
        assert (states(), shown("open"), shown("failures"), breaker.next_trial) == (["closed"], 0, 0, None)


@in_virtual_time
async def test_everybody_goes_on_within_two_seconds_of_the_stores_return() -> None:
    async with running() as (breaker, store):
        holders = [writing(breaker, store, str(n)) for n in range(5)]
        await asyncio.sleep(300)
        store.error = None
        await asyncio.sleep(2.1)

        assert all(holder.done() for holder in holders)
        assert not breaker.is_open


@in_virtual_time
async def test_a_probe_that_passes_lets_exactly_one_write_through_until_that_is_committed() -> None:
    """A full disk lets a probe pass, which is rolled back."""
    async with running() as (breaker, store):
        tasks = [writing(breaker, store, name) for name in ("a", "b", "c")]
        await asyncio.sleep(1)
        store.is_kind_to_probes = True
        store.asked.clear()
        store.most_at_once = 0

        await asyncio.sleep(600)

        assert store.most_at_once == 1
        assert len(store.asked_by_writers()) <= store.asked.count("probe") < 700
        assert not breaker.state.available
        store.error = None
        await asyncio.gather(*tasks)


@in_virtual_time
async def test_the_delays_begin_again_with_a_commit_and_not_with_a_refusal() -> None:
    """A full store that lets probes pass, and refuses every other write for what is in it."""
    async with running() as (breaker, store):
        store.is_kind_to_probes = True
        loop = asyncio.get_running_loop()
        until, errors = loop.time() + 600, cycle([StoreUnavailable("full"), REFUSED])

        async def write() -> None:
            raise next(errors)

        while loop.time() < until:
            with pytest.raises(RecordsRefused):
                await attempt(breaker, store, write)

        assert len(store.asked) < 700


@in_virtual_time
async def test_a_refusal_is_an_answer_and_closes_the_breaker() -> None:
    async with running() as (breaker, store):
        errors: list[SinkError] = [StoreUnavailable("away"), REFUSED]
        store.error = None

        async def write() -> None:
            raise errors.pop(0)

        with pytest.raises(RecordsRefused):
            await attempt(breaker, store, write)

        assert not breaker.is_open


@in_virtual_time
async def test_a_refused_probe_is_an_answer() -> None:
    async with running() as (breaker, store):
        task = writing(breaker, store, "a")
        await asyncio.sleep(10)
        store.is_kind_to_probes, store.probe_error, store.error = True, REFUSED, None

        assert await asyncio.wait_for(task, 3) == ["a"]


@in_virtual_time
async def test_a_conflict_is_tried_again_at_once_and_a_handful_of_times() -> None:
    async with running() as (breaker, store):
        tries = 0

        async def write() -> None:
            nonlocal tries
            tries += 1
            if tries <= CONFLICT_RETRIES:
                raise WriteConflict("deadlock")

        await attempt(breaker, store, write)

        assert tries == CONFLICT_RETRIES + 1
        assert breaker.episodes == 0
        assert store.asked == []


@in_virtual_time
async def test_a_storm_of_conflicts_opens_the_breaker_and_another_conflict_does_not_close_it() -> None:
    async with running() as (breaker, store):
        store.error = WriteConflict("deadlock")
        task = writing(breaker, store, "a")

        await asyncio.sleep(30)

        assert (breaker.is_open, breaker.episodes) == (True, 1)
        store.error = None
        await task


@in_virtual_time
async def test_draining_releases_every_holder_at_once() -> None:
    async with running() as (breaker, store):
        holders = [writing(breaker, store, str(n)) for n in range(3)]
        await asyncio.sleep(10)
        started = asyncio.get_running_loop().time()

        breaker.stop()

        results = [await asyncio.wait_for(asyncio.shield(_outcome(holder)), 5) for holder in holders]
        assert results == [Released] * 3
        assert asyncio.get_running_loop().time() - started < 0.1


@in_virtual_time
async def test_a_holder_whose_channel_ended_is_released_and_the_next_one_writes() -> None:
    async with running() as (breaker, store):
        ended = False
        old = writing(breaker, store, "old", gone=lambda: ended)
        new = writing(breaker, store, "new")
        await asyncio.sleep(10)

        ended = True
        breaker.release()
        store.error = None

        assert await _outcome(old) is Released
        assert await new == ["new"]


@in_virtual_time
async def test_probing_goes_on_when_nobody_waits_any_more() -> None:
    async with running() as (breaker, store):
        ended = False
        old = writing(breaker, store, "old", gone=lambda: ended)
        await asyncio.sleep(10)
        ended = True
        breaker.release()
        assert await _outcome(old) is Released

        await asyncio.sleep(60)
        assert breaker.is_open
        store.error = None
        await asyncio.sleep(2.1)

        assert not breaker.is_open
        assert store.asked_by_writers() == ["old"]


@in_virtual_time
async def test_whoever_waits_for_the_breaker_alone_is_told_when_the_store_is_back() -> None:
    async with running() as (breaker, store):
        task = writing(breaker, store, "a")
        await asyncio.sleep(10)
        waiting = asyncio.create_task(breaker.until_closed())
        await asyncio.sleep(10)
        assert not waiting.done()

        store.error = None

        await asyncio.wait_for(waiting, 2.1)
        await task


@in_virtual_time
async def test_a_cancelled_trial_hands_its_turn_on() -> None:
    async with running() as (breaker, store):
        old, new = writing(breaker, store, "old"), writing(breaker, store, "new")
        await asyncio.sleep(10)
        store.asked.clear()
        store.error = None
        while not store.asked_by_writers():  # until the one write is under way
            await asyncio.sleep(0.001)
        trial, other = (old, new) if store.asked_by_writers() == ["old"] else (new, old)

        trial.cancel()

        assert await asyncio.wait_for(other, 1)


@in_virtual_time
async def test_a_cancelled_trial_that_nobody_waits_behind_leaves_the_breaker_closed() -> None:
    async with running() as (breaker, store):
        only = writing(breaker, store, "only")
        await asyncio.sleep(10)
        store.asked.clear()
        store.error = None
        while not store.asked_by_writers():
            await asyncio.sleep(0.001)

        only.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)

        assert not breaker.is_open


async def _outcome(task: "asyncio.Task[list[str]]") -> object:
    try:
        return await task
    except Released:
        return Released


async def ask(breaker: Breaker, probe: Callable[[], Awaitable[None]]) -> None:
    """Ask the store by a write that is rolled back."""
    async for each in breaker.attempts(probe, gone=never, proves=False):
        with each:
            await probe()


@in_virtual_time
async def test_what_is_rolled_back_proves_no_commit() -> None:
    """A full disk lets a probe pass: whoever asks by one must not close the breaker for all who write."""
    async with running() as (breaker, store):
        asking = asyncio.create_task(ask(breaker, store.probe))
        await asyncio.sleep(0.02)
        task = writing(breaker, store, "a")
        await asyncio.sleep(0.02)
        store.is_kind_to_probes = True

        await asyncio.sleep(600)

        assert breaker.episodes == 1
        assert not asking.done()
        store.error = None
        await asyncio.gather(task, asking)


@in_virtual_time
async def test_a_store_that_fails_on_what_was_made_up_takes_what_is_real() -> None:
    async with running() as (breaker, store):

        async def made_up() -> None:
            raise StoreUnavailable("rows are dropped")

        asking = asyncio.create_task(ask(breaker, made_up))
        await asyncio.sleep(1)
        assert breaker.is_open
        store.error = None

        assert await asyncio.wait_for(writing(breaker, store, "a"), 5) == ["a"]

        asking.cancel()


@in_virtual_time
async def test_a_trial_that_is_over_says_nothing_of_the_next_one() -> None:
    async with running() as (breaker, store):
        straggler, trial, end = (asyncio.get_running_loop().create_future() for _ in range(3))
        tasks = [asyncio.create_task(attempt(breaker, store, lambda: straggler))]
        await asyncio.sleep(0.1)
        tasks.append(writing(breaker, store, "away"))
        await asyncio.sleep(0.1)
        store.is_kind_to_probes = True
        tasks[1].cancel()
        tasks.append(asyncio.create_task(attempt(breaker, store, lambda: trial)))
        await asyncio.sleep(5)
        straggler.set_exception(StoreUnavailable("away again"))  # while the trial is under way
        await asyncio.sleep(0.01)
        tasks[0].cancel()
        tasks.append(asyncio.create_task(attempt(breaker, store, lambda: end)))
        await asyncio.sleep(5)

        trial.set_exception(REFUSED)  # the former trial's answer, while the next one is under way
        await asyncio.sleep(0.1)

        assert not breaker.state.available
        end.set_result(None)
        await asyncio.gather(*tasks, return_exceptions=True)
        assert breaker.state.available


@in_virtual_time
async def test_an_outage_is_said_again_every_half_minute_with_what_is_kept_and_once_when_it_is_over() -> None:
    with capture_logs() as lines:
        async with running() as (breaker, store):
            tasks = [writing(breaker, store, name) for name in ("a", "b", "c")]
            await asyncio.sleep(61)
            store.error = None
            await asyncio.gather(*tasks)
            await asyncio.sleep(61)

    away, back = "Store unavailable, holding", "Store available again"
    told = [(line["event"], line.get("reason"), line.get("batches_kept"), line.get("seconds")) for line in lines]
    assert told[:3] == [(away, "connection refused", 3, each) for each in (None, 30.0, 60.0)]
    assert [line[0] for line in told[3:]] == [back]
    assert 61 <= lines[-1]["seconds"] < 64


@in_virtual_time
async def test_conflict_after_conflict_is_not_called_an_outage() -> None:
    with capture_logs() as lines:
        async with running() as (breaker, store):
            store.error = WriteConflict("deadlock detected (40P01)")
            task = writing(breaker, store, "a")
            await asyncio.sleep(31)
            store.error = None
            await task

    in_the_way = "Writers are in each other's way, holding"
    assert [line["event"] for line in lines] == [in_the_way, in_the_way, "Writing again after conflicts"]
    assert lines[0]["reason"] == "conflict after conflict: deadlock detected (40P01)"


@in_virtual_time
async def test_a_drain_says_nothing_more_of_an_outage() -> None:
    with capture_logs() as lines:
        async with running() as (breaker, store):
            task = writing(breaker, store, "a")
            await asyncio.sleep(1)
            breaker.stop()
            with pytest.raises(Released):
                await task
            await asyncio.sleep(100)

    assert [line["event"] for line in lines] == ["Store unavailable, holding"]


@in_virtual_time
async def test_a_store_that_takes_probes_and_no_commit_is_not_said_to_be_back() -> None:
    is_gone = False
    with capture_logs() as lines:
        async with running() as (breaker, store):
            store.is_kind_to_probes = True  # as with a full disk
            task = writing(breaker, store, "a", gone=lambda: is_gone)
            await asyncio.sleep(20)
            is_gone = True  # as at the hold limit
            with pytest.raises(Released):
                await task
            await asyncio.sleep(20)
            was_open = breaker.is_open
            store.error = None
            await writing(breaker, store, "b")

    away, back = "Store unavailable, holding", "Store available again"
    assert not was_open
    assert [line["event"] for line in lines] == [away, away, back]
    assert lines[-1]["seconds"] >= 40


@in_virtual_time
async def test_reads_that_are_answered_do_not_say_that_a_full_store_is_back() -> None:
    """Fault 96."""
    async with running() as (breaker, store):
        store.error, store.is_kind_to_probes = StoreUnavailable("disk full"), True

        async def read() -> None:
            while True:
                async for each in breaker.attempts(store.probe, gone=never):
                    with each:
                        await asyncio.sleep(0.01)
                        each.has_written = False

        reading = [asyncio.create_task(read()) for _ in range(2)]
        with capture_logs() as logs:
            task = writing(breaker, store, "a")
            await asyncio.sleep(600)

        assert len(store.asked) < 1400  # a probe and a write for each of the delays that grow to two seconds
        assert breaker.episodes < 5
        assert [line["event"] for line in logs if line["event"] == "Store available again"] == []
        store.error = None
        await task
        for each in reading:
            each.cancel()


@in_virtual_time
async def test_where_nobody_has_anything_to_write_a_store_that_answers_reads_is_back() -> None:
    async with running() as (breaker, store):
        at_once = most = 0

        async def read() -> None:
            nonlocal at_once, most
            for _ in range(20):
                async for each in breaker.attempts(store.probe, gone=never):
                    with each:
                        if store.error is not None:
                            raise store.error
                        at_once += 1
                        most = max(most, at_once)
                        await asyncio.sleep(0.01)
                        at_once -= 1
                        each.has_written = False

        reading = [asyncio.create_task(read()) for _ in range(3)]
        await asyncio.sleep(10)
        store.error = None
        await asyncio.wait(reading)

        assert (most, breaker.is_open) == (3, False)


@in_virtual_time
async def test_readers_that_come_at_once_again_do_not_go_before_one_who_waits() -> None:
    """Fault 96."""
    async with running() as (breaker, store):
        store.is_kind_to_probes, is_full = True, False

        async def read() -> None:
            while True:
                async for each in breaker.attempts(store.probe, gone=never):
                    with each:
                        if not is_full:
                            raise StoreUnavailable("away")
                        await asyncio.sleep(0.01)
                        each.has_written = False

        store.probe_error = StoreUnavailable("away")
        reading = [asyncio.create_task(read()) for _ in range(2)]
        await asyncio.sleep(1)
        task = writing(breaker, store, "a")  # the last in the line
        await asyncio.sleep(1)
        with capture_logs() as logs:
            is_full, store.error, store.probe_error = True, StoreUnavailable("disk full"), None
            await asyncio.sleep(60)

        assert (breaker.episodes, [line for line in logs if line["event"] == "Store available again"]) == (1, [])
        store.error = None
        await task
        for each in reading:
            each.cancel()
