"""Killed services: whenever a process ended, what was published is stored, all of it."""

from common.kinds import Service
from extractor.synthetic.synthetic import SyntheticLoad
from tests.e2e.broker import Broker
from tests.e2e.loads import LOADS
from tests.e2e.services import Services, in_words
from tests.e2e.sides import Side, problems

KILLS = 3
THREE_MIDDLES = LOADS | {Service.GRAPHINATOR: SyntheticLoad(10_000, seed=4)}


async def test_kill_9_three_times_in_mid_load_loses_nothing(broker: Broker, services: Services, side: Side) -> None:
    """Fault 27b."""
    load = THREE_MIDDLES[side.service]
    await broker.declare(side.service)
    published = await broker.publish(load)
    stored: list[int] = []

    for _ in range(KILLS):
        service = await services.start(side.service, broker.environment | side.environment)
        await service.until_settled(published // (2 * KILLS))
        service.kill()
        stored.append(await side.stored())
    last = await services.start(side.service, broker.environment | side.environment)
    await broker.until_drained(last)

    outcomes = in_words(last.metrics().outcomes())
    print(f"{side.service}: killed with {stored} of {published:,} stored; then, by the last process, {outcomes}")
    assert 0 < stored[0] < stored[1] < stored[2] < published, "not killed in mid-load"
    assert await problems(side, load) == {}
    assert await side.stored() == published
    assert await broker.dead_letters(side.service) == 0
