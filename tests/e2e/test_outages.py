"""Servers that go away in the middle of a load: nothing is lost, nothing dead-lettered, nothing spins.

SPINDLE_OUTAGE_SECONDS makes the outage of a stopped store longer than the 15 seconds that a run of all tests affords.
"""

import asyncio
import os
import time

import pytest

from common.kinds import KINDS
from tests.e2e.broker import Broker
from tests.e2e.loads import LOADS
from tests.e2e.services import Running, Services, in_words
from tests.e2e.sides import Side, problems
from tests.servers.native import OwnRabbitMQ, OwnServer

OUTAGE = float(os.environ.get("SPINDLE_OUTAGE_SECONDS", "15"))
RESUMPTION = 5.0  # seconds
NEAR_ZERO = 0.10  # of one core
GROWTH = 8 * 2**20  # bytes: what a process may have in use at one moment and not at another
LOOKED_AT = 3_000  # messages at the head of each queue: more than any prefetch
SILENCE = 12.0  # seconds, longer than the limits that `IMPATIENT` sets
IMPATIENT = {
    "POSTGRES_CONNECT_TIMEOUT": "1",
    "POSTGRES_COMMAND_TIMEOUT": "2",
    "NEO4J_CONNECT_TIMEOUT": "1",
    "NEO4J_TRANSACTION_TIMEOUT": "2",
}


@pytest.mark.timeout(300 + OUTAGE)
async def test_a_stopped_store_costs_no_record_no_dead_letter_and_no_cpu(
    broker: Broker, services: Services, mortal: tuple[Side, OwnServer]
) -> None:
    """Faults 2, 14 and 67."""
    side, server = mortal
    load = LOADS[side.service]
    await broker.declare(side.service)
    published = await broker.publish(load)
    service = await services.start(side.service, broker.environment | side.environment)
    await service.until_settled(published // 8)

    await server.stop()
    await service.until(lambda: service.ready()[0] == 503, "red")
    began, used, resident = time.monotonic(), service.cpu_seconds(), service.resident_bytes()
    await asyncio.sleep(OUTAGE)
    cpu = (service.cpu_seconds() - used) / (time.monotonic() - began)
    grown = service.resident_bytes() - resident
    returned = max(await broker.delivery_counts(side.service, most=LOOKED_AT), default=0)
    status, red = service.ready()
    held, dead = service.settled(), await broker.dead_letters(side.service)
    in_store = _seconds_in_store(service)
    await server.start()
    started = time.monotonic()
    await side.write_past_the_service()  # a Neo4j that has just started takes seconds for its first transaction
    answers = time.monotonic()
    await service.until(lambda: service.settled() > held, "storing again")
    resumption = time.monotonic() - answers
    # A Neo4j that has just started takes up to eight seconds for its first batch if others are busy: that is not the
    # service's. What is left is how long it did not write.
    writing = max(seconds - in_store[kind] for kind, seconds in _seconds_in_store(service).items())
    await service.until(lambda: service.ready()[0] == 200, "green again")
    await broker.until_drained(service)

    outcomes = service.metrics().outcomes()
    print(
        f"{side.service}: {side.store} away for {OUTAGE:g} s with {held:,} of {published:,} settled: {cpu:.1%} of a "
        f"core and {grown / 2**20:+.1f} MiB meanwhile, the highest delivery count {returned}; "
        f"answering {answers - started:.1f} s after its start, stored to {resumption:.1f} s later, "
        f"{writing:.1f} s of them in the store; "
        f"{in_words(outcomes)}"
    )
    assert held < published, "not stopped in mid-load"
    assert (status, red["store"]["name"], red["store"]["status"]) == (503, side.store, "unavailable")
    assert red["broker"]["status"] == "ok"
    assert cpu < NEAR_ZERO
    assert grown < GROWTH
    assert returned <= 1
    assert dead == await broker.dead_letters(side.service) == 0
    assert resumption - writing < RESUMPTION
    assert outcomes == {"new": published}
    assert await problems(side, load) == {}


@pytest.mark.timeout(600)  # a Neo4j that starts twice, on a busy machine
async def test_an_idle_service_sees_that_its_store_is_away_and_back(
    broker: Broker, services: Services, mortal: tuple[Side, OwnServer]
) -> None:
    side, server = mortal
    await broker.declare(side.service)
    service = await services.start(side.service, broker.environment | side.environment)
    await service.until_ready()

    await server.stop()
    await service.until(lambda: service.ready()[0] == 503, "red")
    status, red = service.ready()
    is_open = service.metrics().sum("spindle_store_breaker_open")
    await server.start()
    await service.until(lambda: service.ready()[0] == 200, "green again")

    assert (status, red["store"]["name"], red["store"]["status"]) == (503, side.store, "unavailable")
    assert is_open == 1
    assert await side.stored() == 0
    assert (await service.stop())[0] == 0


async def test_a_store_that_falls_silent_costs_no_record(
    broker: Broker, services: Services, mortal: tuple[Side, OwnServer]
) -> None:
    side, server = mortal
    load = LOADS[side.service]
    await broker.declare(side.service)
    published = await broker.publish(load)
    service = await services.start(side.service, broker.environment | side.environment | IMPATIENT)
    await service.until_settled(published // 8)

    server.freeze()
    await asyncio.sleep(SILENCE)
    await service.until(lambda: service.ready()[0] == 503, "red")
    status, red = service.ready()
    held = service.settled()
    server.thaw()
    await service.until(lambda: service.ready()[0] == 200, "green again")
    await broker.until_drained(service)

    outcomes = service.metrics().outcomes()
    words = in_words(outcomes)
    print(f"{side.service}: {side.store} silent for {SILENCE:g} s with {held:,} of {published:,} settled; {words}")
    assert held < published, "not frozen in mid-load"
    assert (status, red["store"]["name"], red["store"]["status"]) == (503, side.store, "unavailable")
    assert outcomes == {"new": published}
    assert await problems(side, load) == {}
    assert await broker.dead_letters(side.service) == 0


async def test_a_killed_broker_costs_no_record(own_rabbitmq: OwnRabbitMQ, services: Services, side: Side) -> None:
    """Fault 48."""
    broker, load = Broker(own_rabbitmq.url), LOADS[side.service]
    await broker.declare(side.service)
    published = await broker.publish(load)
    service = await services.start(side.service, broker.environment | side.environment)
    await service.until_settled(published // 8)

    await own_rabbitmq.kill()
    await service.until(lambda: service.ready()[0] == 503, "red")
    red = service.ready()[1]
    held = service.settled()
    await own_rabbitmq.start()
    await service.until(lambda: service.ready()[0] == 200, "green again")
    await broker.until_drained(service)

    words = in_words(service.metrics().outcomes())
    print(f"{side.service}: RabbitMQ killed with {held:,} of {published:,} settled; {words}")
    assert held < published, "not killed in mid-load"
    assert (red["broker"]["status"], red["store"]["status"]) == ("unavailable", "ok")
    assert await problems(side, load) == {}
    assert await side.stored() == published
    assert await broker.dead_letters(side.service) == 0


def _seconds_in_store(service: Running) -> dict[str, float]:
    """What each of a kind's writers has spent, on the average, in transactions that stored something."""
    metrics, name = service.metrics(), "spindle_transaction_time_seconds_total"
    return {
        kind: metrics.sum(name, kind=kind, result="stored") / metrics.sum("spindle_writers", kind=kind)
        for kind in KINDS
    }
