"""Every panel's and every rule's expression returns, from a real Prometheus after a real load, what it should.

Written to build/queries.json: each expression with the number of series that it returned.
"""

import asyncio
import re
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio

from common.errors import StartRefused
from common.kinds import KINDS, Service
from common.settings.environment import load
from spindle.advice.meters import meters_of
from spindle.advice.prometheus import Prometheus
from spindle.advice.window import Window
from spindle.settings import OperatorSettings
from tests.monitoring import queries
from tests.monitoring.proof import EMPTY, OF_THE_MACHINE, Answer, ask, everything, unexpected, write
from tests.monitoring.world import BAD, LITTLE, LOAD, World, watched
from tests.servers import servers
from tests.servers.native import NativeRun, reason_against_native

_SETTLED = f'spindle_records_total{{service="{Service.TABLEINATOR}"}}'


@pytest.fixture(scope="module")
def run_with_servers(request: pytest.FixtureRequest) -> NativeRun:
    """The folder of native servers, where these can run."""
    for server in ("rabbitmq", "postgres"):
        if (reason := reason_against_native(server)) is not None:
            pytest.skip(f"no {server} for this test: {reason}")
    run: NativeRun = request.getfixturevalue("native_run")
    return run


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def world(
    request: pytest.FixtureRequest,
    run_with_servers: NativeRun,
    neo4j: servers.Neo4j,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[World]:
    """Everything running, and a load carried."""
    async with watched(run_with_servers, neo4j, tmp_path_factory.mktemp("monitoring")) as world:
        failed_before = request.session.testsfailed
        await world.load()
        yield world
        if request.session.testsfailed > failed_before:
            print(world.services.report())


async def test_every_expression_returns_what_it_should(world: World) -> None:
    assert EMPTY.keys() | OF_THE_MACHINE <= {found.place for found in everything()}
    answers: list[Answer] = []

    def is_answered() -> bool:
        answers[:] = ask(world.prometheus, bad_records=True)
        write(answers)
        return not unexpected(answers)

    async with world.trickle():
        await world.until(is_answered, lambda: f"answered: {unexpected(answers)}")

    print(f"{len(answers)} expressions, {sum(not any(answer.series.values()) for answer in answers)} of them empty")


async def test_the_first_row_says_how_it_is(world: World) -> None:
    row = "overview.json: Is it healthy?: "
    stats = {
        found.place.removeprefix(row): found.expression for found in queries.panels() if found.place.startswith(row)
    }

    assert _numbers(world, stats["Processes up: A"]) == dict.fromkeys([*Service, "rabbitmq"], 1)
    assert _numbers(world, stats["Databases: A"]) == {"PostgreSQL": 0, "Neo4j": 0}
    assert _numbers(world, stats["RabbitMQ: A"]) == dict.fromkeys(Service, 1)
    assert _number(world, stats["RabbitMQ: B"]) == 0
    assert _number(world, stats["Dead letters: B"]) == 0
    assert _number(world, stats["Dead letters: C"]) == 0
    # The broker counts what waits in a queue every five seconds, and Prometheus asks it then.
    waiting = stats["Dead letters: A"]
    await world.until(
        lambda: _number(world, waiting) == len(Service) * BAD,
        lambda: f"all waiting: {_number(world, waiting)}",
    )


async def test_what_a_process_does_before_it_is_first_asked_is_counted(world: World) -> None:
    if not world.prometheus.counts_from_birth():
        pytest.skip("this Prometheus is older than 3.0 and takes no counter's birth for a sample")
    await world.running[Service.TABLEINATOR].stop()
    stopped = time.time()
    published = await world.broker.publish(LOAD)

    def counted() -> float:
        """By the new process alone: over a window with samples of both, the reset of a counter would say it too."""
        now = time.time()
        window = f"{round((now - stopped) * 1000)}ms"
        return _number(world, f"sum(increase({_SETTLED}[{window}])) or vector(0)", at=now)

    await world.start(Service.TABLEINATOR)

    await world.broker.until_drained(world.running[Service.TABLEINATOR])
    await world.until(lambda: counted() >= published, lambda: f"all counted: {counted():.0f} of {published}")


async def test_nothing_is_asked_for_that_nobody_exports_and_nothing_is_exported_that_nobody_asks_for(
    world: World,
) -> None:
    asked = {name for found in everything() for name in found.metrics()} - {"ALERTS"}
    recorded = {rule["record"] for rule in queries.rules() if "record" in rule}
    there = world.prometheus.names()

    assert asked - recorded - there == {"spindle_trace_spans_total"}  # TRACING is off
    ours = {name for name in there if name.startswith("spindle_") and not name.endswith("_created")}
    assert {name for name in ours if not asked & _relatives(name)} == set()


async def test_store_unavailable_fires_while_the_store_is_away_and_resolves_by_itself(world: World) -> None:
    await world.postgres.stop()
    await world.broker.publish(LITTLE)
    await world.until_alert("SpindleStoreUnavailable", firing=True)

    await world.postgres.start()

    await world.until_alert("SpindleStoreUnavailable", firing=False)
    await world.broker.until_drained(world.running[Service.TABLEINATOR])


async def test_service_down_fires_when_a_service_has_ended_and_resolves_with_its_start(world: World) -> None:
    await world.running[Service.TABLEINATOR].stop()
    await world.until_alert("SpindleServiceDown", firing=True)

    await world.start(Service.TABLEINATOR)

    await world.until_alert("SpindleServiceDown", firing=False)


async def test_dead_letters_arriving_resolves_when_none_has_arrived_for_long_enough(world: World) -> None:
    await world.until_alert("SpindleDeadLettersArriving", firing=False)


def _numbers(world: World, expression: str) -> dict[str, float]:
    """The values by the one label, or the last one, that the series have."""
    return {
        list(series["metric"].values())[-1]: float(series["value"][1]) for series in world.prometheus.query(expression)
    }


def _number(world: World, expression: str, at: float | None = None) -> float:
    [series] = world.prometheus.query(expression, at)
    return float(series["value"][1])


def _relatives(name: str) -> set[str]:
    """The names of one histogram are one metric."""
    base = re.sub("_(bucket|sum|count)$", "", name)
    return {name, *(f"{base}_{part}" for part in ("bucket", "sum", "count"))}


async def test_a_look_back_finds_what_the_services_themselves_say(world: World) -> None:
    """What `spindle advise --prometheus` judges by: counters, queues and processes as they are."""
    places = {"STATUS_GRAPHINATOR": "a:1", "STATUS_TABLEINATOR": "b:1"}
    settings = load(OperatorSettings, world.broker.environment | places)
    window: Window | None = None

    # (Another test may just have started one of them again.)
    await world.broker.publish(LITTLE)
    for running in world.running.values():
        await world.broker.until_drained(running)
    told = {
        service: {kind: running.metrics().sum("spindle_records_total", kind=kind) for kind in KINDS}
        for service, running in world.running.items()
    }

    def is_seen() -> bool:
        nonlocal window
        now = datetime.now(UTC)
        window = Prometheus.at(world.prometheus.url).look_back(settings, now - timedelta(minutes=2), now)
        seen = {
            state.service: {kind.kind: sum(kind.outcomes.values()) for kind in state.kinds}
            for state in window.looks[-1].picture.services
        }
        return seen == told and all(meters_of(window.looks[-2:], service) is not None for service in Service)

    await world.until(is_seen, lambda: f"two looks at both services, the newer with {told}")

    assert window is not None
    for state in window.looks[-1].picture.services:
        assert sum(told[state.service].values()) > 0
        assert [kind.ready for kind in state.kinds] == [0] * len(state.kinds)
    # A look back into a time before there was anything has nothing to say.
    with pytest.raises(StartRefused, match="has no metrics of the services from 2020"):
        past = datetime(2020, 1, 1, tzinfo=UTC)
        await asyncio.to_thread(
            Prometheus.at(world.prometheus.url).look_back, settings, past, past + timedelta(minutes=1)
        )
