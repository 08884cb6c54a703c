"""Bad messages among good ones: each is dead-lettered alone, with its reason and as it came; all others are stored."""

from collections import Counter

from aiormq.abc import DeliveredMessage

from common.kinds import KINDS
from tests.e2e.bad_input import Odd, odd_messages
from tests.e2e.broker import Broker
from tests.e2e.loads import SMALL
from tests.e2e.services import Services, in_words
from tests.e2e.sides import Side, problems

BAD = 20  # for each service

Letter = tuple[str, str, bytes]  # kind, reason, body


async def test_exactly_the_20_bad_messages_are_dead_lettered_as_they_came(
    broker: Broker, services: Services, side: Side
) -> None:
    """Faults 5, 7, 8 and 25."""
    odd = odd_messages()
    bad = [each for each in odd if side.service in each.reasons]
    good = [each for each in odd if side.service not in each.reasons]
    assert len(bad) == BAD
    await broker.declare(side.service)
    published = await broker.publish(
        SMALL, extra={kind: [each.body for each in odd if each.kind == kind] for kind in KINDS}
    )

    service = await services.start(side.service, broker.environment | side.environment)
    await broker.until_drained(service)

    outcomes = service.metrics().outcomes()
    letters = {kind: await broker.take_dead_letters(side.service, kind) for kind in KINDS}
    found = [letter for of_kind in letters.values() for letter in of_kind]
    reasons = Counter(str(_header(letter, "reason")) for letter in found)
    print(
        f"{side.service}: {published:,} records and {len(odd)} odd messages: {in_words(outcomes)}; "
        f"dead letters: {in_words(reasons)}"
    )
    assert Counter(_letter(each) for each in found) == Counter(_expected(each, side) for each in bad)
    assert all(_header(each, "error-class") and _header(each, "text") and _header(each, "time") for each in found)
    assert outcomes == {"new": published + len(good), "dead_lettered": BAD}
    assert await problems(side, SMALL) == {}
    assert await side.stored() == published + len(good)
    assert [each.what for each in good if not await side.has(each.kind, each.record_id)] == []


def _letter(message: DeliveredMessage) -> Letter:
    assert _header(message, "kind")
    return str(_header(message, "kind")), str(_header(message, "reason")), message.body


def _expected(odd: Odd, side: Side) -> Letter:
    return odd.kind, odd.reasons[side.service], odd.body


def _header(message: DeliveredMessage, name: str) -> object:
    return (message.header.properties.headers or {}).get(f"x-spindle-{name}")
