"""A record that goes back to what it was, in loads that come out of order: found by verification, and put right."""

from common.outcomes import Outcomes
from extractor.loads import SyntheticLoad, messages
from spindle.verification.expectation import Expectation
from spindle.verification.tables import compare_table
from tableinator.model import Row
from tableinator.store import open_store
from tests.integration.tables import settings

JANUARY, FEBRUARY, MARCH = "20260101", "20260201", "20260301"


async def test_verification_finds_what_a_late_load_replaced_and_the_newest_load_again_puts_it_right(dsn: str) -> None:
    """Fault 69."""
    load = SyntheticLoad(400, 1, date=MARCH, kinds=("artists",))
    records = [(message.id, message.sha256, message.body) for message in messages(load, "artists")]
    march = [Row(record_id, sha256, MARCH, body) for record_id, sha256, body in records]
    late = Row(march[3].id, "another hash", FEBRUARY, b'{"type": "data", "sha256": "", "id": "another"}')
    found = []
    async with open_store(settings(dsn)) as store:
        sink = store.sink("artists")
        await sink.write([Row(record_id, sha256, JANUARY, body) for record_id, sha256, body in records])
        await sink.write(march)
        assert await sink.write([late]) == Outcomes(changed=1)
        found.append(await compare_table(Expectation(load, "artists"), settings(dsn).postgres))

        again = await sink.write(march)
        found.append(await compare_table(Expectation(load, "artists"), settings(dsn).postgres))

    assert [each.agrees for each in found] == [False, True]
    assert found[0].different.examples == [f"artists {late.id}"]
    assert again == Outcomes(changed=1, unchanged=len(march) - 1)
