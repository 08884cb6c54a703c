"""Services that are told to stop in the middle of a load."""

from tests.e2e.broker import Broker
from tests.e2e.loads import LOADS
from tests.e2e.services import Services, in_words
from tests.e2e.sides import Side, problems
from tests.servers.native import OwnServer

STOP_LIMIT = 10.0  # seconds: what an operator's `docker stop` waits for
AT_ONCE = 4.0  # seconds: nothing is written, a few connections are closed; it might take a minute
LOOKED_AT = 3_000  # messages at the head of each queue: more than any prefetch


async def test_sigterm_under_full_load_exits_0_within_10_s_and_loses_nothing(
    broker: Broker, services: Services, side: Side
) -> None:
    """Faults 1 and 19."""
    load = LOADS[side.service]
    await broker.declare(side.service)
    published = await broker.publish(load)
    service = await services.start(side.service, broker.environment | side.environment)
    await service.until_settled(published // 8)

    code, seconds = await service.stop()

    stored, left = await side.stored(), await broker.waiting(side.service)
    returned = await broker.delivery_counts(side.service, most=LOOKED_AT)
    again = await services.start(side.service, broker.environment | side.environment)
    await broker.until_drained(again)
    outcomes = in_words(again.metrics().outcomes())
    print(
        f"{side.service}: exit {code} after {seconds:.1f} s with {stored:,} of {published:,} stored and {left:,} left, "
        f"{sum(count > 0 for count in returned):,} of them delivered before; then {outcomes}"
    )
    assert (code, seconds < STOP_LIMIT) == (0, True)
    assert 0 < stored < published and left > 0, "not stopped in mid-load"
    assert max(returned) <= 1
    assert await problems(side, load) == {}
    assert await side.stored() == published
    assert await broker.dead_letters(side.service) == 0


async def test_sigterm_while_the_store_is_away_exits_0_at_once_and_loses_nothing(
    broker: Broker, services: Services, mortal: tuple[Side, OwnServer]
) -> None:
    side, server = mortal
    load = LOADS[side.service]
    await broker.declare(side.service)
    published = await broker.publish(load)
    service = await services.start(side.service, broker.environment | side.environment | {"DRAIN_LIMIT": "60"})
    await service.until_settled(published // 8)
    await server.stop()
    await service.until(lambda: service.ready()[0] == 503, "red")

    code, seconds = await service.stop()

    await server.start()
    again = await services.start(side.service, broker.environment | side.environment)
    await broker.until_drained(again)
    outcomes = in_words(again.metrics().outcomes())
    print(f"{side.service}: exit {code} after {seconds:.1f} s while {side.store} was away; then {outcomes}")
    assert (code, seconds < AT_ONCE) == (0, True)
    assert await problems(side, load) == {}
    assert await broker.dead_letters(side.service) == 0
