"""Every panel's and every rule's expression returns, from a real Prometheus after a real load, what it should.

Written to build/queries.json: each expression with the number of series that it returned.
"""

import json
import math
import re
from collections.abc import AsyncIterator, Iterator
from itertools import product

import pytest
import pytest_asyncio

from common.kinds import KINDS, Service
from monitoring.alerts import ALERTS
from tests import servers
from tests.e2e.services import ROOT
from tests.monitoring import queries
from tests.monitoring.queries import Found
from tests.monitoring.world import LITTLE, World, watched
from tests.native import NativeRun, reason_against_native

REPORT = ROOT / "build" / "queries.json"

# What is empty in health, and why. That these work too is shown by the cases for promtool.
EMPTY = {
    "recorded: spindle:full_load:rate5m": "needs five minutes behind a backlog",
    "recorded: spindle:full_load:median30d": "needs an hour of those",
    "overview.json: How fast?: Against its own median: A": "needs both",
    "value of SpindleThroughputRegression": "needs both",
    **{f"alert: {alert.name}": "nothing is wrong" for alert in ALERTS},
}
# On a slow machine these are true, and so they should be.
DEPENDS_ON_THE_MACHINE = {"alert: SpindleLatencyHigh", "alert: SpindleLoopLag"}
# What is wrong all the same: the load holds records that can't be stored.
for provoked in ("SpindleDeadLettersArriving", "SpindleDeadLettersWaiting"):
    del EMPTY[f"alert: {provoked}"]


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
    expressions = {found.place: found for found in _all()}
    assert EMPTY.keys() | DEPENDS_ON_THE_MACHINE <= expressions.keys()

    async with world.trickle():
        for place, found in expressions.items():
            if place in DEPENDS_ON_THE_MACHINE:
                _answers(world, found)
            else:
                await _until_answered(world, found, some=place not in EMPTY)

    assert world.prometheus.unhealthy() == {}


async def test_nothing_is_asked_for_that_nobody_exports_and_nothing_is_exported_that_nobody_asks_for(
    world: World,
) -> None:
    asked = {name for found in _all() for name in found.metrics()} - {"ALERTS"}
    recorded = {rule["record"] for rule in queries.rules() if "record" in rule}
    there = world.prometheus.names()

    assert asked - recorded - there == set()
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


@pytest.fixture(scope="module", autouse=True)
def report() -> Iterator[None]:
    """Write down what was answered."""
    _ANSWERS.clear()
    yield
    if _ANSWERS:
        REPORT.parent.mkdir(exist_ok=True)
        REPORT.write_text(json.dumps(list(_ANSWERS.values()), indent=1) + "\n")
        print(f"{len(_ANSWERS)} expressions, {sum(not each['series'] for each in _ANSWERS.values())} of them empty")


_ANSWERS: dict[str, dict[str, object]] = {}


def _all() -> Iterator[Found]:
    for each in (queries.panels(), queries.recordings(), queries.alerts()):
        yield from each
    # An alert that is quiet proves nothing if what it compares is not there.
    yield from (Found(f"value of {alert.name}", alert.signal.value) for alert in ALERTS)


async def _until_answered(world: World, found: Found, *, some: bool) -> None:
    """Wait until each answer has some series, or none."""

    def is_answered() -> bool:
        return all(bool(count) is some for count in _answers(world, found).values())

    await world.until(is_answered, f"{'answered' if some else 'empty'}: {found.place}: {found.expression}")


def _answers(world: World, found: Found) -> dict[str, int]:
    """How many series an expression returns, for each choice of the dashboard's variables."""
    answers = {}
    for service, kind in product(Service, KINDS) if re.search(r"\$(service|kind)", found.expression) else [("", "")]:
        values = {"service": service, "kind": kind, "__rate_interval": "1m"}
        answers[f"{service} {kind}".strip()] = _series(world, queries.with_values(found.expression, values))
    _ANSWERS[found.place] = {
        "place": found.place,
        "expression": found.expression,
        "series": sum(answers.values()),
        **({"by choice": answers} if len(answers) > 1 else {}),
        **({"empty in health": EMPTY[found.place]} if found.place in EMPTY else {}),
    }
    return answers


def _series(world: World, expression: str) -> int:
    """How many series have a number."""
    return sum(not math.isnan(float(series["value"][1])) for series in world.prometheus.query(expression))


def _relatives(name: str) -> set[str]:
    """The names of one histogram are one metric."""
    base = re.sub("_(bucket|sum|count)$", "", name)
    return {name, *(f"{base}_{part}" for part in ("bucket", "sum", "count"))}
