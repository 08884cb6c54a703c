"""Errors that may be the store's: a record is suspected, and judged in rounds."""

import asyncio
from collections.abc import Sequence

from common.errors import RecordsRefused, Refusal, SinkError, StoreUnavailable
from tests.fakes import FakeRecord, body, refuse
from tests.unit.pipeline.line import CONTROL, WITHOUT_PROOF, Line, bodies
from tests.virtual_time import in_virtual_time


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


@in_virtual_time
async def test_a_suspect_holds_up_no_copy_of_itself_that_comes_over_a_new_channel() -> None:
    """Fault 95."""
    line = Line()
    line.sink.fail = refuse("13", certain=False)
    line.source.put(*bodies(*range(1, 21)))

    async with line.running():
        await asyncio.sleep(2)  # the next round is 13 s away
        line.sink.fail = lambda _: None
        line.source.lose_channel()

        await line.until(line.settled, within=1)
