"""`spindle advise` on a real service: with nothing to do, paused, and behind a store that is slow."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest

from common.kinds import Service
from extractor.synthetic.synthetic import SyntheticLoad
from tests.e2e.broker import Broker
from tests.e2e.fixtures import empty_tables, fresh_broker, services_of_a_test  # noqa: F401  (fixtures)
from tests.e2e.services import ROOT, Running, Services
from tests.e2e.sides import Tables
from tests.integration import tables as database
from tests.servers import servers

LOAD = SyntheticLoad(20_000, seed=3, kinds=("releases",))
SLOW = (
    "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.5); RETURN NULL; END'",
    "CREATE TRIGGER slow BEFORE INSERT ON releases FOR EACH STATEMENT EXECUTE FUNCTION slow()",
)


class Scene:
    """tableinator with one kind and one writer."""

    def __init__(self, broker: Broker, tables: Tables, running: Running, management: str) -> None:
        self.broker, self.tables, self.running = broker, tables, running
        self._environ = {
            "PATH": os.environ["PATH"],
            **broker.environment,
            **tables.environment,
            "KINDS": "releases",
            "RABBITMQ_MANAGEMENT_URL": management,
            "STATUS_GRAPHINATOR": "none",
            "STATUS_TABLEINATOR": running.place,
        }

    async def spindle(self, *arguments: str) -> tuple[int, str]:
        """Run a command as an operator would. Returns: exit code and output."""
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "spindle", *arguments],
            cwd=ROOT,
            env=self._environ,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert not done.stderr, done.stderr
        return done.returncode, done.stdout

    async def advise(self) -> tuple[int, Mapping[str, Any]]:
        """What is said of some seconds. Returns: exit code, and the part about tableinator."""
        code, said = await self.spindle("advise", "--seconds", "4", "--json")
        part: Mapping[str, Any] = json.loads(said)["services"]["tableinator"]
        return code, part


@pytest.fixture
async def scene(rabbitmq: servers.RabbitMQ, broker: Broker, services: Services, tables: Tables) -> Scene:
    await broker.declare(Service.TABLEINATOR)
    own = {"KINDS": "releases", "POSTGRES_WRITERS": "1"}
    running = await services.start(Service.TABLEINATOR, {**broker.environment, **tables.environment, **own})
    return Scene(broker, tables, running, rabbitmq.management_url or "none")


async def test_a_store_that_is_slow_is_the_limit_while_records_wait(scene: Scene) -> None:
    await database.run(scene.tables.dsn, *SLOW)
    await scene.broker.publish(LOAD)

    code, found = await scene.advise()

    [finding] = found["findings"]
    assert (code, finding["limit"]) == (1, "store"), found
    assert finding["share"] > 0.9
    assert "PostgreSQL is the limit" in found["verdict"]


async def test_with_nothing_to_do_nothing_is_found_and_a_pause_is(scene: Scene) -> None:
    idle = await scene.advise()
    paused = await scene.spindle("pause", "tableinator", "releases", "--by", "me")
    await scene.running.until(lambda: scene.running.metrics().sum("spindle_paused"), "paused")

    stopped = await scene.advise()

    assert (idle[0], idle[1]["findings"]) == (0, []), idle
    assert paused[0] == 0
    assert (stopped[0], [each["limit"] for each in stopped[1]["findings"]]) == (1, ["stopped"]), stopped
    assert "spindle resume tableinator releases" in stopped[1]["findings"][0]["change"]
