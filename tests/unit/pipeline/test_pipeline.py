"""The pipeline on fakes and a virtual clock: every row of the failure table that needs no server."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import repeat

import pytest
import structlog

from common.errors import BatchTooLarge, Reason, RecordsRefused, Refusal, SinkError, StoreUnavailable, WriteConflict
from common.pipeline.pipeline import Pipeline
from common.pipeline.reader import PIECE
from common.sink import Outcomes
from common.storing.breaker import Breaker
from common.telemetry.metrics import REGISTRY, KindMetrics
from tests.fakes import FakeDeadLetters, FakeRecord, FakeSink, FakeSource, body, consumer_settings, project, refuse
from tests.virtual_time import in_virtual_time

CONTROL = b'{"type":"file_complete","data_type":"artists"}'


class Line:
    """A pipeline between fakes."""

    count = 0

    def __init__(
        self,
        *,
        size: int = 50,
        writers: int = 2,
        hold_limit: float = 900.0,
        allow_flood: bool = False,
        target: float | None = None,
        slots: asyncio.Semaphore | None = None,
    ) -> None:
        Line.count += 1
        self.kind = f"kind{Line.count}"
        self.source = FakeSource(prefetch=(writers + 2) * size)
        self.sink = FakeSink()
        self.letters = FakeDeadLetters()
        self.breaker = Breaker(service="test", store="fake")
        self.pipeline: Pipeline[FakeRecord] = Pipeline(
            consumer_settings(
                batch_size=size,
                batch_target=target,
                writers=writers,
                hold_limit=hold_limit,
                dead_letter_flood="allow" if allow_flood else "hold",
            ),
            source=self.source,
            project=project,
            sink=self.sink,
            breaker=self.breaker,
            dead_letters=self.letters,
            metrics=KindMetrics("test", self.kind),
            slots=slots,
        )
        self.letters.on_confirmed = self.pipeline.confirmed

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(self.run())
            yield
            self.stop()
            await asyncio.wait_for(asyncio.shield(running), 30)

    async def run(self) -> None:
        """The pipeline, and the breaker beside it."""
        async with asyncio.TaskGroup() as around:
            probing = around.create_task(self.breaker.run())
            await self.pipeline.run()
            probing.cancel()

    def stop(self) -> None:
        self.source.stop()
        self.breaker.stop()

    async def stopped_after(self, seconds: float) -> None:
        """Run for a while, and end within a drain's limit."""
        running = asyncio.create_task(self.run())
        await asyncio.sleep(seconds)
        self.stop()
        await asyncio.wait_for(running, 8)

    async def until(self, claim: Callable[[], bool], *, within: float = 100.0) -> None:
        """Let time pass until something holds."""
        pause = 0.01
        async with asyncio.timeout(within):
            while not claim():
                await asyncio.sleep(pause)
                pause = min(pause * 1.02, 0.5)  # a look a hundredth of a second for a quarter of an hour costs a minute

    @property
    def batch_size(self) -> float:
        """The batch size in use."""
        return self.metric("spindle_batch_size_limit_records")

    def settled(self) -> bool:
        return not self.source.unacknowledged and not self.source.ready

    def outcome(self, name: str) -> float:
        labels = {"service": "test", "kind": self.kind, "outcome": name}
        return REGISTRY.get_sample_value("spindle_records_total", labels) or 0.0

    def metric(self, name: str) -> float:
        return REGISTRY.get_sample_value(name, {"service": "test", "kind": self.kind}) or 0.0


WITHOUT_PROOF = [str(number) for number in range(3000, 3099)]
"""As many bad records as are dead-lettered although nothing else was written."""


def bodies(*ids: object) -> list[bytes]:
    return [body(one) for one in ids]


@in_virtual_time
async def test_everything_published_is_stored_acknowledged_and_counted() -> None:
    line = Line()
    line.source.put(*bodies(*range(1, 1001)))

    async with line.running():
        await line.until(line.settled)

    assert set(line.sink.rows) == {str(number) for number in range(1, 1001)}
    assert len(line.source.acknowledged) == 1000
    assert line.outcome("new") == 1000


@in_virtual_time
async def test_a_flood_is_acknowledged_by_a_frame_per_batch_not_per_record() -> None:
    line = Line(size=100)
    line.source.put(*bodies(*range(1, 2001)))

    async with line.running():
        await line.until(line.settled)

    assert len(line.source.acks) <= 20


@in_virtual_time
async def test_a_partial_batch_is_written_on_stop() -> None:
    """Fault 19."""
    line = Line(size=500)
    line.source.put(*bodies(1, 2, 3))

    async with line.running():
        await asyncio.sleep(0.001)

    assert line.sink.batches == [["1", "2", "3"]]
    assert line.settled()


@in_virtual_time
async def test_a_large_burst_is_read_in_pieces_and_others_have_their_turns_between() -> None:
    """Fault 41."""
    line = Line(size=2000)
    line.source.put(*bodies(*range(1, 2001)))
    turns = 0

    async with line.running():
        while not line.sink.attempts:
            await asyncio.sleep(0)
            turns += 1

    assert turns >= 2000 / PIECE
    assert line.sink.batches == [[str(number) for number in range(1, 2001)]]


@in_virtual_time
async def test_nothing_is_acknowledged_before_it_is_stored() -> None:
    line = Line()
    line.sink.gate.clear()
    line.source.put(*bodies(*range(1, 51)))

    async with line.running():
        await asyncio.sleep(5)
        assert not line.source.acknowledged
        line.sink.gate.set()


@in_virtual_time
async def test_one_refused_record_of_five_hundred_is_set_aside_alone() -> None:
    """Fault 5."""
    line = Line(size=500)
    line.sink.fail = refuse("77")
    line.source.put(*bodies(*range(1, 501)))

    async with line.running():
        await line.until(line.settled)

    assert line.letters.ids == ["77"]
    assert len(line.sink.rows) == 499
    assert (line.outcome("new"), line.outcome("dead_lettered")) == (499, 1)


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (b"{", Reason.NOT_JSON),
        (b"\xff\xfe", Reason.NOT_JSON),
        (b"[1]", Reason.NOT_JSON),
        (b"[" * 100_000, Reason.NOT_JSON),
        (b'{"type":"data","id":"3","a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", Reason.TOO_DEEP),
        (b'{"type":"data","id":"3","a":"' + b"x" * 16 * 2**20 + b'"}', Reason.TOO_LARGE),
        (b'{"type":"data"}', Reason.NO_USABLE_ID),
        (b'{"type":"data","id":null}', Reason.NO_USABLE_ID),
        (b'{"type":"data","id":""}', Reason.NO_USABLE_ID),
        (b'{"type":"data","id":0}', Reason.NO_USABLE_ID),
        (b'{"type":"data","id":[1]}', Reason.NO_USABLE_ID),
        (b'{"type":"data","id":{"a":1}}', Reason.NO_USABLE_ID),
        (b'{"type":"data","id":true}', Reason.NO_USABLE_ID),
        (b'{"type":"data","id":"unknown"}', Reason.NO_USABLE_ID),
        (b'{"type":"surprise","id":"1"}', Reason.UNKNOWN_TYPE),
        (b'{"id":"1"}', Reason.UNKNOWN_TYPE),
        (b'{"type":"file_complete"}', Reason.INVALID_CONTROL),
    ],
)
def test_what_holds_no_record_is_dead_lettered_in_one_hop(message: bytes, reason: Reason) -> None:
    """Faults 7 and 8."""

    @in_virtual_time
    async def check() -> None:
        line = Line()
        line.source.put(body(1), message, body(2))

        async with line.running():
            await line.until(line.settled)

        assert [letter.reason for letter in line.letters.letters] == [reason]
        assert line.letters.letters[0].delivery.body == message
        assert set(line.sink.rows) == {"1", "2"}

    check()


@in_virtual_time
async def test_a_numeric_id_is_taken_as_its_digits() -> None:
    """Fault 8."""
    line = Line()
    line.source.put(b'{"type":"data","id":42}')

    async with line.running():
        await line.until(line.settled)

    assert set(line.sink.rows) == {"42"}


@in_virtual_time
async def test_a_record_that_breaks_the_projection_is_set_aside_and_the_line_goes_on() -> None:
    line = Line()
    line.source.put(body(1), body(2, "explode"), body(3))

    async with line.running():
        await line.until(line.settled)

    [letter] = line.letters.letters
    assert (letter.record_id, letter.reason) == ("2", Reason.PROJECTION_FAILED)
    assert letter.refusal.error_class == "ZeroDivisionError"
    assert set(line.sink.rows) == {"1", "3"}


@in_virtual_time
async def test_ten_minutes_of_outage_cost_nothing_but_time() -> None:
    """Fault 2."""
    line = Line(hold_limit=900)
    line.sink.fail = lambda _: StoreUnavailable("away")
    line.source.put(*bodies(*range(1, 1001)))

    async with line.running():
        await asyncio.sleep(600)
        asked = len(line.sink.attempts)
        line.sink.fail = lambda _: None
        await line.until(line.settled, within=5)

    assert len(line.sink.rows) == 1000
    assert line.letters.ids == []
    assert asked < 700
    assert line.outcome("new") == 1000


@in_virtual_time
async def test_beyond_the_hold_limit_deliveries_go_back_once_and_return_with_the_store() -> None:
    """Fault 13."""
    line = Line(hold_limit=900)
    line.sink.fail = lambda _: StoreUnavailable("away")
    line.source.put(*bodies(*range(1, 301)))

    async with line.running():
        await asyncio.sleep(3600)
        assert line.source.away
        assert not line.source.unacknowledged
        line.sink.fail = lambda _: None
        await line.until(line.settled, within=5)

    assert len(line.sink.rows) == 300
    assert line.sink.probes
    assert line.outcome("new") == 300


@in_virtual_time
async def test_stopping_while_holding_writes_nothing_and_ends_at_once() -> None:
    line = Line()
    line.sink.fail = lambda _: StoreUnavailable("away")
    line.source.put(*bodies(*range(1, 101)), CONTROL)
    loop = asyncio.get_running_loop()

    async with line.running():
        await asyncio.sleep(60)
        started = loop.time()
    assert loop.time() - started < 0.5
    assert line.source.acknowledged == []
    assert len(line.source.ready) == 101


@in_virtual_time
async def test_stopping_with_a_suspect_ends_at_once_and_leaves_it_to_come_again() -> None:
    line = Line()
    line.sink.fail = refuse("13", certain=False)
    line.source.put(*bodies(*range(1, 51)), CONTROL)
    loop = asyncio.get_running_loop()

    async with line.running():
        await asyncio.sleep(5)
        started = loop.time()
    assert loop.time() - started < 0.5
    assert line.source.ready[0][0] == body(13)
    assert line.letters.ids == []


@in_virtual_time
async def test_stopping_with_a_control_message_behind_an_unconfirmed_dead_letter_ends_within_the_drain() -> None:
    line = Line()
    line.letters.blocked = True
    line.source.put(body(1), b"{", CONTROL)

    await line.stopped_after(5)

    assert CONTROL not in line.source.acknowledged


@in_virtual_time
async def test_stopping_with_a_suspect_whose_store_is_away_ends_within_the_drain() -> None:
    line = Line()
    line.sink.fail = refuse("13", certain=False)
    line.source.put(*bodies(*range(1, 51)), CONTROL)
    running = asyncio.create_task(line.run())
    await asyncio.sleep(2)
    line.sink.fail = lambda _: StoreUnavailable("away")
    await asyncio.sleep(40)

    line.breaker.stop()
    await asyncio.sleep(0.01)  # the broker's answer to the stop takes longer
    line.source.stop()

    await asyncio.wait_for(running, 1)
    assert [message[0] for message in line.source.ready] == [body(13), CONTROL]


@in_virtual_time
async def test_what_a_drain_leaves_behind_is_not_overtaken_by_a_later_version() -> None:
    line = Line(size=1, writers=2)
    slow = line.sink.gate
    slow.clear()
    line.source.put(body(2))
    running = asyncio.create_task(line.run())
    await asyncio.sleep(1)
    line.sink.gate = asyncio.Event()
    line.sink.gate.set()
    line.sink.fail = lambda records: StoreUnavailable("away") if records[0].id == "1" else None
    line.source.put(body(1, "older"), body(2), body(1, "newer"))
    await asyncio.sleep(1)

    line.stop()
    await asyncio.sleep(0.01)
    line.sink.fail = lambda _: None
    slow.set()

    await asyncio.wait_for(running, 8)
    assert [message[0] for message in line.source.ready] == [body(1, "older"), body(1, "newer")]


@in_virtual_time
async def test_a_batch_that_was_released_is_not_reported_as_processed() -> None:
    line = Line()
    line.sink.fail = lambda _: StoreUnavailable("away")
    line.source.put(*bodies(*range(1, 101)))

    with structlog.testing.capture_logs() as logs:
        await line.stopped_after(10)

    assert "Batch processed" not in {entry["event"] for entry in logs}


@in_virtual_time
async def test_after_the_hold_limit_a_kept_record_that_is_itself_bad_holds_nobody_up() -> None:
    line = Line(hold_limit=900)
    line.sink.fail = lambda _: StoreUnavailable("away")
    line.source.put(*bodies(*range(1, 301)))

    async with line.running():
        await line.until(lambda: line.source.away, within=1000)
        line.sink.fail = refuse("1")
        await line.until(line.settled, within=5)

    assert line.letters.ids == ["1"]


@in_virtual_time
async def test_a_flood_that_was_the_records_fault_ends_when_others_come() -> None:
    line = Line(size=100, hold_limit=900)
    bad = [str(number) for number in range(1, 151)]
    line.sink.fail = refuse(*bad)
    line.source.put(*bodies(*bad))

    async with line.running():
        await line.until(lambda: line.source.away, within=1000)
        line.source.put(*bodies(*range(1000, 1300)))
        await line.until(lambda: len(line.sink.rows) == 300, within=1000)


@in_virtual_time
async def test_a_flood_that_was_handed_back_is_still_one() -> None:
    line = Line(size=100, hold_limit=60)
    line.sink.fail = refuse(*map(str, range(1, 151)))
    line.source.put(*bodies(*range(1, 151)))

    async with line.running():
        await line.until(lambda: line.source.away)
        await asyncio.sleep(10)
        assert line.source.away
        assert line.metric("spindle_refusing_everything") == 1
        line.source.ready.clear()  # another replica takes what was handed back
        line.sink.fail = lambda _: None
        await line.until(lambda: not line.source.away)
        await asyncio.sleep(1)
        assert line.metric("spindle_refusing_everything") == 0


@in_virtual_time
async def test_each_record_that_is_stored_frees_some_of_a_flood() -> None:
    """Bad records enough for a flood, and good ones that come a few seconds apart, never beside them."""
    line = Line(size=100, hold_limit=900)
    bad = [str(number) for number in range(1, 151)]
    line.sink.fail = refuse(*bad)
    line.source.put(*bodies(*bad))

    async with line.running():
        for number in range(1000, 1004):
            await asyncio.sleep(10)
            line.source.put(*bodies(number))
        await line.until(line.settled, within=30)

    assert sorted(line.letters.ids) == sorted(bad)


@in_virtual_time
async def test_a_flood_ends_also_while_more_bad_records_come() -> None:
    """Fewer than there is credit for between any two good ones, and yet refused while held ones are tried again."""
    line = Line(size=500)
    bad = [str(number) for number in range(1, 601)]
    line.sink.fail, line.sink.pace = refuse(*bad), 0.001
    line.source.put(*bodies(*bad[:300]))

    async with line.running():
        for number in range(300, 600):
            await asyncio.sleep(0.5)
            line.source.put(*bodies(bad[number]))
            if number % 10 == 0:
                line.source.put(*bodies(number + 1000))
        await line.until(line.settled, within=1)

    assert sorted(line.letters.ids) == sorted(bad)


@in_virtual_time
async def test_what_is_unreadable_and_comes_while_held_records_are_tried_again_is_given_out_too() -> None:
    line = Line(size=100)
    line.sink.fail = refuse(*map(str, range(1, 151)))
    line.source.put(*bodies(*range(1, 151)))

    async with line.running():
        await asyncio.sleep(20)
        line.sink.fail, line.sink.pace = (lambda _: None), 0.05
        await line.until(lambda: len(line.sink.attempts[-1]) > 1)
        line.source.put(*[b"{"] * 100)
        await line.until(line.settled)

    assert sum(letter.reason is Reason.NOT_JSON for letter in line.letters.letters) == 100


@in_virtual_time
async def test_a_channel_that_ends_while_held_records_are_tried_again_leaves_nothing_in_flight() -> None:
    line = Line(size=100)
    first, second = [*map(str, range(1, 151))], [*map(str, range(501, 701))]
    line.sink.fail = refuse(*first, *second)
    line.source.put(*bodies(*first))

    async with line.running():
        await asyncio.sleep(10)
        line.sink.pace = 1.0
        line.source.put(body(1000))
        await line.until(lambda: len(line.sink.attempts[-1]) > 1)
        line.sink.pace = 0.0
        line.source.lose_channel()
        line.source.ready.clear()  # what came back goes to another replica
        line.source.put(*bodies(*second))
        await asyncio.sleep(1)
        line.sink.fail = lambda _: None
        await line.until(line.settled)
        line.source.put(*bodies(*first, *second))
        await line.until(line.settled)


@in_virtual_time
async def test_a_version_under_suspicion_is_not_stored_after_a_newer_one_that_was_held() -> None:
    line = Line(size=500)
    line.sink.fail = lambda _: RecordsRefused(Refusal("Model", "1", "no"), positions=None, certain=True)
    line.source.put(*[body(number, text) for text in ("old", "new") for number in range(1, 151)])

    def odd(records: Sequence[FakeRecord]) -> SinkError | None:
        is_odd = any('"old"' in record.payload for record in records)
        return RecordsRefused(Refusal("Odd", "2", "?"), positions=None, certain=False) if is_odd else None

    async with line.running():
        await asyncio.sleep(5)
        line.sink.fail = odd
        line.source.put(body(1000))
        await asyncio.sleep(10)
        line.sink.fail = lambda _: None
        await line.until(line.settled)

    assert [number for number in range(1, 151) if '"new"' not in line.sink.rows[str(number)].payload] == []


@in_virtual_time
async def test_of_more_copies_of_one_bad_record_than_there_is_credit_each_record_that_is_stored_frees_some() -> None:
    line = Line(size=500)
    line.sink.fail = refuse("1")
    line.source.put(*bodies(*[1] * 250))

    async with line.running():
        await line.until(lambda: line.metric("spindle_refusing_everything") == 1)
        assert len(line.letters.ids) == 99
        line.source.put(*bodies(2))
        await asyncio.sleep(10)
        assert len(line.letters.ids) == 2 * 99
        line.source.put(*bodies(3))
        await line.until(line.settled)

    assert line.letters.ids == ["1"] * 250


@in_virtual_time
async def test_of_ids_with_many_bad_versions_each_record_that_is_stored_frees_some() -> None:
    line = Line(size=2000)
    bad = [str(number) for number in range(1, 21)]
    line.sink.fail = refuse(*bad)
    line.source.put(*bodies(*[number for number in bad for _ in range(60)]))

    async with line.running():
        await line.until(lambda: line.metric("spindle_refusing_everything") == 1)
        for number in range(1, 13):
            assert len(line.letters.ids) == number * 99  # as many, and no more
            line.source.put(body(1000 + number))
            await asyncio.sleep(10)
        assert len(line.letters.ids) == 20 * 60


@in_virtual_time
async def test_ids_with_many_bad_versions_are_given_out_also_while_more_bad_records_come(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "common.quarantine.quarantine.delays", lambda: repeat(1.0)
    )  # never between a good one and the bad ones
    line = Line(size=500)
    held = [*[1] * 150, *[number for number in range(2, 27) for _ in range(6)]]
    line.sink.fail = lambda records: refuse(*(one.id for one in records if not 1000 <= int(one.id) < 2000))(records)
    line.source.put(*bodies(*held))

    async with line.running():
        await asyncio.sleep(0.4)
        for step in range(60):
            await asyncio.sleep(9.9)
            line.source.put(body(1000 + step))
            await asyncio.sleep(0.1)
            line.source.put(*bodies(*range(2000 + 90 * step, 2090 + 90 * step)))
        await asyncio.sleep(10)

    assert len([one for one in line.letters.ids if int(one) < 1000]) == len(held)


@in_virtual_time
async def test_what_is_held_is_not_written_before_an_older_version_under_suspicion() -> None:
    line = Line(size=500)
    line.source.put(*bodies(*WITHOUT_PROOF), body(1, "old"), body(1, "new"), *bodies(*range(2, 51)))

    def odd(records: Sequence[FakeRecord]) -> SinkError | None:
        is_odd = any('"old"' in record.payload for record in records)
        return RecordsRefused(Refusal("Odd", "2", "?"), positions=None, certain=not is_odd)

    line.sink.fail = odd
    async with line.running():
        await asyncio.sleep(0.5)
        line.sink.fail = lambda _: None
        await line.until(line.settled)

    assert line.letters.ids == WITHOUT_PROOF
    assert '"new"' in line.sink.rows["1"].payload


@in_virtual_time
async def test_while_what_was_held_waits_for_a_suspect_the_next_flood_is_seen_and_ended() -> None:
    line = Line(size=500)
    line.source.put(*bodies(*WITHOUT_PROOF), body(1, "old"), body(1, "new"), *bodies(*range(2, 51)))
    is_mended = False

    def odd(records: Sequence[FakeRecord]) -> SinkError | None:
        is_odd = any('"old"' in record.payload for record in records)
        is_fine = is_mended and not is_odd
        return None if is_fine else RecordsRefused(Refusal("Odd", "2", "?"), positions=None, certain=not is_odd)

    line.sink.fail = odd
    async with line.running():
        await asyncio.sleep(0.5)
        is_mended = True
        await asyncio.sleep(5)
        line.source.put(body(900))
        await asyncio.sleep(0.5)
        assert line.metric("spindle_refusing_everything") == 0
        is_mended = False
        line.source.put(*bodies(*range(2000, 2150)))
        await asyncio.sleep(0.2)
        assert line.metric("spindle_refusing_everything") == 1
        is_mended = True
        await line.until(lambda: sum(str(number) in line.sink.rows for number in range(2000, 2150)) == 51, within=5)

    assert len(line.letters.ids) == 2 * len(WITHOUT_PROOF)


@in_virtual_time
async def test_what_is_tried_again_when_the_process_drains_is_acknowledged_if_it_was_stored() -> None:
    line = Line(size=500)
    line.sink.fail = refuse(*map(str, range(1, 201)))
    line.source.put(*bodies(*range(1, 201)))
    running = asyncio.create_task(line.run())
    await asyncio.sleep(10)
    line.sink.fail, line.sink.pace = (lambda _: None), 0.02
    await line.until(lambda: len(line.sink.attempts[-1]) > 1)

    line.stop()
    await asyncio.wait_for(running, 8)

    assert len(line.sink.rows) == line.outcome("new") == len(line.source.acknowledged) - len(line.letters.ids) > 1


@in_virtual_time
async def test_an_outage_that_only_a_suspect_meets_is_handed_back_once() -> None:
    """Each time more would take from the delivery budget."""
    line = Line(hold_limit=900)
    line.sink.fail = refuse("13", certain=False)
    line.source.put(*bodies(*range(1, 51)))

    async with line.running():
        await asyncio.sleep(2)
        line.sink.fail = lambda _: StoreUnavailable("away")
        await asyncio.sleep(3000)
        assert [count for _, _, count in line.source.ready] == [1]
        line.sink.fail = lambda _: None
        await line.until(line.settled)


@in_virtual_time
async def test_a_drain_too_slow_for_its_limit_leaves_the_rest_to_come_again() -> None:
    line = Line(writers=1)
    write = line.sink.write

    async def slowly(records: Sequence[FakeRecord]) -> Outcomes:
        await asyncio.sleep(3)
        return await write(records)

    line.sink.write = slowly  # type: ignore[method-assign]
    line.source.put(*bodies(*range(1, 151)))
    loop = asyncio.get_running_loop()

    async with line.running():
        await asyncio.sleep(1)
        started = loop.time()
    assert loop.time() - started < 8
    assert len(line.sink.rows) == len(line.source.acknowledged) == 100
    assert len(line.source.ready) == 50


@in_virtual_time
async def test_a_lost_channel_in_mid_write_loses_and_doubles_nothing() -> None:
    """Fault 17."""
    line = Line()
    line.sink.gate.clear()
    line.source.put(*bodies(*range(1, 301)))

    async with line.running():
        await asyncio.sleep(1)
        line.source.lose_channel()
        await asyncio.sleep(1)
        line.sink.gate.set()
        await line.until(line.settled)

    assert len(line.sink.rows) == 300
    assert len(line.source.acknowledged) == 300
    assert sum(line.outcome(name) for name in ("new", "unchanged")) == 300
    assert line.metric("spindle_expired_deliveries_total") > 0


@in_virtual_time
async def test_holders_of_a_lost_channel_are_dropped_and_come_again() -> None:
    line = Line()
    line.sink.fail = lambda _: StoreUnavailable("away")
    line.source.put(*bodies(*range(1, 301)))

    async with line.running():
        await asyncio.sleep(30)
        line.source.lose_channel()
        await asyncio.sleep(30)
        line.sink.fail = lambda _: None
        await line.until(line.settled)

    assert len(line.sink.rows) == 300


@in_virtual_time
async def test_the_stores_return_is_noticed_although_nobody_waits_for_it_any_more() -> None:
    line = Line()
    line.sink.fail = lambda _: StoreUnavailable("away")
    line.source.put(*bodies(*range(1, 301)))

    async with line.running():
        await asyncio.sleep(30)
        line.source.lose_channel()
        line.source.ready.clear()  # another replica has taken them
        await asyncio.sleep(300)
        asked = len(line.sink.attempts)
        assert line.breaker.is_open
        line.sink.fail = lambda _: None
        await line.until(lambda: not line.breaker.is_open, within=2)

    assert asked < 700
    assert line.sink.rows == {}
    assert len(line.sink.probes) == 1


@in_virtual_time
async def test_an_unknown_error_is_a_dead_letter_only_after_thirty_seconds_and_evidence() -> None:
    line = Line()
    line.sink.fail = refuse("13", certain=False)
    line.source.put(*bodies(*range(1, 51)))
    loop = asyncio.get_running_loop()
    started = loop.time()

    async with line.running():
        await line.until(line.settled)

    assert line.letters.ids == ["13"]
    assert 30 <= loop.time() - started < 40
    assert line.sink.rewrites  # nothing else was written in the meantime: the witness spoke
    assert len(line.sink.rows) == 49


@in_virtual_time
async def test_a_suspect_that_comes_between_two_rounds_has_its_own_thirty_seconds() -> None:
    line = Line()
    line.sink.fail = refuse("13", "14", certain=False)
    line.source.put(*bodies(*range(1, 14)))
    now = asyncio.get_running_loop().time

    async with line.running():
        await asyncio.sleep(10)
        line.source.put(*bodies(14))
        came = now()
        await line.until(lambda: line.letters.ids == ["13"])
        await line.until(lambda: line.letters.ids == ["13", "14"])

        assert 30 <= now() - came < 50


@in_virtual_time
async def test_an_unknown_error_of_everything_is_held_not_dead_lettered() -> None:
    line = Line(size=10)
    line.sink.fail = refuse(*map(str, range(1, 31)), certain=False)
    line.source.put(*bodies(*range(1, 31)))

    async with line.running():
        await asyncio.sleep(800)
        assert line.letters.ids == []
        line.sink.fail = lambda _: None
        line.source.put(*bodies(99))
        await line.until(line.settled)

    assert len(line.sink.rows) == 31


@in_virtual_time
async def test_an_unknown_error_that_was_the_stores_ends_with_the_record_stored() -> None:
    line = Line()
    line.sink.fail = refuse("13", certain=False)
    line.source.put(*bodies(*range(1, 51)))

    async with line.running():
        await asyncio.sleep(5)
        line.sink.fail = lambda _: None
        await line.until(line.settled)

    assert line.letters.ids == []
    assert len(line.sink.rows) == 50


@in_virtual_time
async def test_suspects_of_a_store_that_is_well_again_are_stored_although_nothing_else_comes() -> None:
    line = Line(size=10)
    line.sink.fail = refuse("1", "2", "3", certain=False)
    line.source.put(*bodies(1, 2, 3))

    async with line.running():
        await asyncio.sleep(100)
        line.sink.fail = lambda _: None
        await line.until(line.settled, within=20)

    assert len(line.sink.rows) == 3


@in_virtual_time
async def test_a_suspect_that_blocks_the_stream_has_what_is_behind_it_for_evidence() -> None:
    line = Line(size=10)
    line.sink.fail = refuse("1", certain=False)
    line.source.put(body(1))
    line.source.put(CONTROL, body(2))

    async with line.running():
        await line.until(line.settled, within=60)

    assert line.letters.ids == ["1"]
    assert set(line.sink.rows) == {"2"}


@in_virtual_time
async def test_an_outage_before_the_last_evidence_starts_the_suspicion_from_zero() -> None:
    """Fault 3."""
    line = Line()
    failures = 0

    def fail(records: Sequence[FakeRecord]) -> SinkError | None:
        nonlocal failures
        failures += [record.id for record in records] == ["13"]
        if failures == 3 and not line.breaker.episodes:
            return refuse("13", certain=False)(records) or StoreUnavailable("away")
        return refuse("13", certain=False)(records)

    line.sink.fail = fail
    line.source.put(*bodies(*range(1, 51)))

    async with line.running():
        await line.until(lambda: line.letters.ids == ["13"])

    assert failures == 3 + 3


@in_virtual_time
async def test_two_suspects_of_one_id_are_not_stored_in_the_wrong_order() -> None:
    line = Line()
    line.sink.fail = refuse("13", certain=False)
    line.source.put(body(1), body(13, "older"), body(13, "newer"))

    async with line.running():
        await asyncio.sleep(5)
        line.sink.fail = lambda _: None
        await line.until(line.settled)

    assert line.sink.rows["13"].payload == body(13, "newer").decode()
    assert (line.outcome("new"), line.outcome("superseded")) == (2, 1)


@in_virtual_time
async def test_a_refused_suspect_makes_room_for_the_next_version() -> None:
    line = Line()
    line.source.put(body(1), body(13, "good"), body(13, "bad"))

    def refuse_bad(records: Sequence[FakeRecord]) -> SinkError | None:
        bad = [record.id for record in records if record.payload == body(13, "bad").decode()]
        return refuse(*bad, certain=False)(records) if bad else None

    line.sink.fail = refuse_bad

    async with line.running():
        await line.until(line.settled)

    assert line.sink.rows["13"].payload == body(13, "good").decode()
    assert line.letters.ids == ["13"]


@in_virtual_time
async def test_a_stale_record_is_no_witness() -> None:
    line = Line()
    line.source.put(body(1, "newer"), load="20260301")

    async with line.running():
        await line.until(line.settled)
        line.sink.fail = refuse("13", certain=False)
        line.source.put(body(13), body(2), body(1, "older"), load="20260201")
        await line.until(line.settled)

    assert line.letters.ids == ["13"]


@in_virtual_time
async def test_held_refusals_are_stored_in_the_order_in_which_they_came() -> None:
    line = Line(size=200)
    ids = [str(number) for number in range(1, 101)]
    line.sink.fail = refuse(*ids)
    line.source.put(*bodies(*ids), *(body(one, "newer") for one in ids))

    async with line.running():
        await asyncio.sleep(60)
        line.sink.fail = lambda _: None
        await line.until(line.settled)

    held = [one for one in ids if one not in line.letters.ids]
    assert held
    assert {line.sink.rows[one].payload for one in held} == {body(one, "newer").decode() for one in held}


@in_virtual_time
async def test_a_million_refusals_in_a_row_become_a_hold() -> None:
    """Fault 27."""
    line = Line(size=50)
    line.sink.fail = refuse(*map(str, range(1, 1001)), named=True)
    line.source.put(*bodies(*range(1, 1001)))

    async with line.running():
        await asyncio.sleep(300)
        assert len(line.letters.ids) < 100
        assert line.metric("spindle_refusing_everything") == 1
        before = set(line.letters.ids)
        line.sink.fail = lambda _: None  # the operator has fixed the column
        await line.until(line.settled)

    assert set(line.sink.rows) == {str(number) for number in range(1, 1001)} - before
    assert max(map(len, line.sink.attempts)) == 50
    assert line.metric("spindle_refusing_everything") == 0


@in_virtual_time
async def test_a_flood_that_fills_the_prefetch_ends_although_the_oldest_of_it_is_bad_by_itself() -> None:
    line = Line(size=50)
    line.sink.fail = refuse(*map(str, range(1, 1001)))
    line.source.put(*bodies(*range(1, 1001)))

    async with line.running():
        await asyncio.sleep(60)
        oldest = next(iter(line.source.unacknowledged.values()))[0]
        line.sink.fail = refuse(str(json.loads(oldest)["id"]))
        await line.until(line.settled)


@in_virtual_time
async def test_a_flood_that_is_allowed_is_dead_lettered() -> None:
    line = Line(size=50, allow_flood=True)
    line.sink.fail = refuse(*map(str, range(1, 301)))
    line.source.put(*bodies(*range(1, 301)))

    async with line.running():
        await line.until(line.settled)

    assert len(line.letters.ids) == 300


@in_virtual_time
async def test_half_bad_records_are_no_flood() -> None:
    line = Line(size=500)
    bad = [str(number) for number in range(1, 1001) if number % 2]
    line.sink.fail = refuse(*bad)
    line.source.put(*bodies(*range(1, 1001)))

    async with line.running():
        await line.until(line.settled)

    assert sorted(line.letters.ids) == sorted(bad)


@in_virtual_time
async def test_a_flood_of_unreadable_deliveries_is_held_until_a_record_comes_through() -> None:
    line = Line(size=50)
    line.source.put(*[b"{"] * 150)

    async with line.running():
        await asyncio.sleep(100)
        assert len(line.letters.letters) == 99
        line.source.put(body(1))
        await line.until(line.settled)

    assert len(line.letters.letters) == 150


@in_virtual_time
async def test_of_two_versions_in_a_batch_the_winner_is_written_and_both_are_settled() -> None:
    """Fault 22."""
    line = Line()
    line.source.put(body(1, "old"), load="20260101")
    line.source.put(body(1, "new"), load="20260201")
    line.source.put(body(1, "old"), load="20260101")  # redelivered behind

    async with line.running():
        await line.until(line.settled)

    assert line.sink.rows["1"].version == "20260201"
    assert (line.outcome("new"), line.outcome("superseded")) == (1, 2)


@in_virtual_time
async def test_if_the_winner_is_refused_the_next_version_is_written() -> None:
    line = Line()
    line.source.put(body(1, "good"), load="20260101")
    line.source.put(body(1, "bad"), load="20260201")

    def refuse_new(records: Sequence[FakeRecord]) -> SinkError | None:
        bad = [record.id for record in records if record.version == "20260201"]
        return refuse(*bad)(records) if bad else None

    line.sink.fail = refuse_new

    async with line.running():
        await line.until(line.settled)

    assert line.sink.rows["1"].version == "20260101"
    assert line.letters.ids == ["1"]
    assert (line.outcome("new"), line.outcome("dead_lettered")) == (1, 1)


@in_virtual_time
async def test_a_control_message_waits_for_an_unconfirmed_dead_letter_before_it() -> None:
    line = Line()
    line.letters.blocked = True
    line.source.put(body(1), b"{", CONTROL)

    async with line.running():
        await asyncio.sleep(60)
        assert CONTROL not in line.source.acknowledged
        line.letters.confirm()
        await line.until(line.settled)

    assert CONTROL in line.source.acknowledged


@in_virtual_time
async def test_consuming_goes_on_until_the_prefetch_is_full_of_unconfirmed_dead_letters() -> None:
    line = Line(size=10, writers=2)
    line.letters.blocked = True
    line.source.put(*[b"{"] * 39, *bodies(*range(1, 101)))

    async with line.running():
        await line.until(lambda: len(line.sink.rows) == 100)
        line.letters.confirm()
        await line.until(line.settled)


@in_virtual_time
async def test_a_batch_that_is_too_large_is_halved_and_all_of_it_stored() -> None:
    line = Line(size=100)
    line.sink.fail = lambda records: BatchTooLarge(Refusal("E", "57014", "")) if len(records) > 30 else None
    line.source.put(*bodies(*range(1, 101)))

    async with line.running():
        await line.until(line.settled)

    assert len(line.sink.rows) == 100


@in_virtual_time
async def test_a_slow_store_gets_smaller_batches_until_it_is_quick_again() -> None:
    line = Line(size=500, target=1.0)
    line.sink.pace = 0.005
    line.source.put(*bodies(*range(1, 5001)))

    with structlog.testing.capture_logs() as logs:
        async with line.running():
            await line.until(line.settled)
            assert 150 <= line.batch_size <= 200
            assert len(line.sink.batches[-3]) * line.sink.pace <= 1.0
            line.sink.pace = 0.0
            line.source.put(*bodies(*range(5001, 10_001)))
            await line.until(line.settled)

    assert line.batch_size == 500
    said = [entry["event"] for entry in logs if entry["event"] != "Batch processed"]
    assert said == ["Batch size reduced: the store is slow", "Batch size restored"]


@in_virtual_time
async def test_the_room_of_batches_is_what_they_could_have_held_when_they_were_cut() -> None:
    line = Line(size=500, target=1.0)
    line.sink.pace = 0.005
    line.source.put(*bodies(*range(1, 5001)))

    async with line.running():
        await line.until(line.settled)

    assert 5000 <= line.metric("spindle_batch_room_records_total") < 5000 + 500


@in_virtual_time
async def test_too_large_a_batch_halves_the_batch_size_once_however_often_it_is_split() -> None:
    line = Line(size=400, writers=1, target=1.0)
    line.sink.fail = lambda records: BatchTooLarge(Refusal("E", "57014", "")) if len(records) > 30 else None
    line.source.put(*bodies(*range(1, 401)))

    async with line.running():
        await line.until(line.settled)

    assert line.batch_size == 200


@in_virtual_time
async def test_an_outage_does_not_move_the_batch_size() -> None:
    line = Line(size=100, target=1.0)
    line.sink.fail = lambda _: StoreUnavailable("away")
    line.source.put(*bodies(*range(1, 201)))  # a batch for each writer

    async with line.running():
        await asyncio.sleep(60)
        line.sink.pace = 0.02  # those that come back from an outage are slow
        line.sink.fail = lambda _: None
        await line.until(line.settled)

    assert line.batch_size == 100


@in_virtual_time
async def test_a_conflict_does_not_move_the_batch_size() -> None:
    line = Line(size=100, writers=1, target=1.0)
    conflicts = [WriteConflict("deadlock")]
    line.sink.fail = lambda _: conflicts.pop() if conflicts else None
    line.sink.pace = 0.02
    line.source.put(*bodies(*range(1, 101)))

    async with line.running():
        await line.until(line.settled)

    assert line.batch_size == 100


@in_virtual_time
async def test_a_batch_that_is_not_full_does_not_move_the_batch_size() -> None:
    line = Line(size=100, target=1.0)
    line.sink.pace = 0.1
    line.source.put(*bodies(*range(1, 100)))

    async with line.running():
        await line.until(line.settled)

    assert line.batch_size == 100


@in_virtual_time
async def test_waiting_for_another_kinds_turn_is_not_the_stores_slowness() -> None:
    slots = asyncio.Semaphore(1)
    line = Line(size=100, target=1.0, slots=slots)
    line.source.put(*bodies(*range(1, 401)))

    with structlog.testing.capture_logs() as logs:
        async with line.running():
            async with slots:
                await asyncio.sleep(30)
            await line.until(line.settled)

    assert line.batch_size == 100
    assert {entry["duration_ms"] for entry in logs if entry["event"] == "Batch processed"} == {0}


@in_virtual_time
async def test_kinds_that_share_their_slots_take_turns() -> None:
    slots = asyncio.Semaphore(1)
    busy, other = Line(size=10, slots=slots), Line(size=10, slots=slots)
    for line in (busy, other):
        line.sink.pace = 0.1
    busy.source.put(*bodies(*range(1, 1001)))

    async with busy.running(), other.running():
        await asyncio.sleep(5)
        other.source.put(*bodies(*range(1, 41)))
        await other.until(other.settled, within=20)
        assert not busy.settled()
        busy.sink.pace = 0.0


@in_virtual_time
async def test_a_batch_that_waits_for_its_turn_takes_along_what_comes_meanwhile() -> None:
    slots = asyncio.Semaphore(1)
    line = Line(size=10, writers=1, slots=slots)
    line.source.put(*bodies("a", "b"))

    async with line.running():
        async with slots:
            await asyncio.sleep(1)
            line.source.put(*bodies("c", "c"), CONTROL, *bodies("d"))
            await asyncio.sleep(1)
        await line.until(line.settled)

    assert line.sink.batches == [["a", "b", "c"], ["d"]]
    assert (line.outcome("new"), line.outcome("superseded")) == (4, 1)


@in_virtual_time
async def test_a_batch_that_has_grown_is_left_whole_by_a_lost_channel() -> None:
    slots = asyncio.Semaphore(1)
    line = Line(size=10, writers=1, slots=slots)
    line.source.put(*bodies("a"))
    line.sink.fail = lambda _: StoreUnavailable("away")

    async with line.running():
        async with slots:
            await asyncio.sleep(1)
            line.source.put(*bodies("b", "c"))
        await asyncio.sleep(5)
        line.source.lose_channel()
        line.sink.fail = lambda _: None
        await line.until(line.settled)

    assert line.sink.attempts[0] == ["a", "b", "c"]
    assert (line.outcome("new"), line.metric("spindle_expired_deliveries_total")) == (3, 3)


@in_virtual_time
async def test_a_drain_begins_nothing_late_that_has_waited_for_its_turn() -> None:
    slots = asyncio.Semaphore(1)
    lines = [Line(size=10, writers=1, slots=slots) for _ in range(4)]
    for line in lines:
        line.sink.pace = 0.15
        line.source.put(*bodies(*range(1, 101)))

    async with asyncio.TaskGroup() as tasks:
        for line in lines:
            tasks.create_task(line.stopped_after(1))

    assert [len(line.source.acknowledged) for line in lines] == [len(line.sink.rows) for line in lines]


@in_virtual_time
async def test_a_batch_whose_channel_has_ended_takes_no_turn() -> None:
    slots = asyncio.Semaphore(1)
    line = Line(size=10, slots=slots)
    line.source.put(*bodies(*range(1, 11)))

    async with line.running():
        async with slots:
            await asyncio.sleep(1)
            line.source.lose_channel()
        await line.until(line.settled)

    assert len(line.sink.batches) == 1
    assert (line.outcome("new"), line.metric("spindle_expired_deliveries_total")) == (10, 10)


@in_virtual_time
async def test_an_unchanged_batch_is_acknowledged_too() -> None:
    """Fault 11."""
    line = Line()
    line.source.put(*bodies(*range(1, 51)), *bodies(*range(1, 51)))

    async with line.running():
        await line.until(line.settled)

    assert (line.outcome("new"), line.outcome("unchanged")) == (50, 50)


@in_virtual_time
async def test_a_healthy_batch_beside_a_poisoned_one_changes_nothing_about_it() -> None:
    """Fault 6."""
    line = Line(size=10, writers=2)
    line.sink.fail = refuse("5")
    line.source.put(*bodies(*range(1, 21)))

    async with line.running():
        await line.until(line.settled)

    assert line.letters.ids == ["5"]
    assert len(line.sink.rows) == 19


@in_virtual_time
async def test_a_bug_in_a_sink_ends_the_pipeline_and_acknowledges_nothing() -> None:
    line = Line()

    def bug(records: Sequence[FakeRecord]) -> SinkError | None:
        raise ZeroDivisionError

    line.sink.fail = bug
    line.source.put(*bodies(1, 2))

    with pytest.raises(ExceptionGroup):
        await line.run()

    assert line.source.acknowledged == []


@pytest.mark.parametrize("steps", range(1, 60))
def test_cancelled_at_any_step_nothing_is_acknowledged_that_is_not_stored(steps: int) -> None:
    """Fault 15."""

    @in_virtual_time
    async def check() -> None:
        line = Line(size=5)
        line.sink.fail = refuse("7")
        line.source.put(*bodies(*range(1, 31)))
        running = asyncio.create_task(line.run())
        for _ in range(steps):
            await asyncio.sleep(0)

        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

        kept = {*line.sink.rows, *line.letters.ids}
        assert {
            FakeRecord(str(number)).id for number in range(1, 31) if body(number) in line.source.acknowledged
        } <= kept

    check()


@in_virtual_time
async def test_a_round_judges_no_version_that_it_has_stored() -> None:
    """The first version is stored in its third round; a later one is suspected before the round is over."""
    line = Line()
    line.source.put(body(1), body(13, "older"), body(14))
    is_third_round = False

    def fail(records: Sequence[FakeRecord]) -> SinkError | None:
        good = {body(1).decode(), body(13, "older").decode() if is_third_round else ""}
        odd = [each.id for each in records if each.payload not in good]
        return refuse(*odd, certain=False)(records) if odd else None

    line.sink.fail, line.sink.pace = fail, 0.3
    alone = ["14"]

    async with line.running():
        await line.until(lambda: line.sink.attempts.count(alone) == 3)  # isolation, then two rounds
        await asyncio.sleep(1)
        is_third_round = True
        await line.until(lambda: line.sink.attempts.count(alone) == 4)
        line.sink.pace = 0.0
        line.source.put(body(13, "newer"))  # and is suspected, while 14 is still being tried
        await line.until(line.settled, within=300)

    assert line.letters.ids == ["14", "13"]
    assert line.sink.rows["13"].payload == body(13, "older").decode()


@in_virtual_time
async def test_what_rounds_have_proved_stays_proved_without_credit() -> None:
    line = Line(size=500)
    line.sink.fail = refuse("13", certain=False)
    line.source.put(*bodies(1, 13))

    async with line.running():
        await line.until(lambda: "1" in line.sink.rows)
        refused = {*WITHOUT_PROOF, "13"}

        def fail(records: Sequence[FakeRecord]) -> SinkError | None:
            if [record.id for record in records] == ["13"]:
                return refuse("13", certain=False)(records)
            return refuse(*refused)(records)

        line.sink.fail = fail
        line.source.put(*bodies(*map(int, WITHOUT_PROOF)))
        await line.until(lambda: line.metric("spindle_refusing_everything") == 1, within=120)
        for _ in range(120):
            await asyncio.sleep(0.5)
            assert line.metric("spindle_refusing_everything") == 1
