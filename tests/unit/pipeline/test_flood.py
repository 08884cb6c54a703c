"""Refusals with nothing written between: without credit they are held, and each written record frees some."""

import asyncio
import json
from collections import Counter
from collections.abc import Sequence

from common.backoff import Backoff, Jitter, Strategy
from common.errors import Reason, RecordsRefused, Refusal, SinkError
from tests.fakes import FakeRecord, body, refuse
from tests.unit.pipeline.line import WITHOUT_PROOF, Line, bodies
from tests.virtual_time import in_virtual_time


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

    assert Counter(letter.reason for letter in line.letters.letters) == {Reason.REFUSED: 99, Reason.NOT_JSON: 100}
    assert len(line.sink.rows) == 150 - 99


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
async def test_ids_with_many_bad_versions_are_given_out_also_while_more_bad_records_come() -> None:
    line = Line(
        size=500, backoff=Backoff(Strategy.FIXED, Jitter.NONE, base=1.0, cap=1.0)
    )  # never between a good one and the bad ones
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
    line.source.put(*[b"{"] * 250)

    async with line.running():
        for number in (1, 2, 3):
            await asyncio.sleep(100)
            assert len(line.letters.letters) == min(number * 99, 250)  # as many, and no more
            line.source.put(body(number))
        await line.until(line.settled)

    assert len(line.letters.letters) == 250
