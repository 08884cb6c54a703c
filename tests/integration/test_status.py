"""`spindle status` on real services, a real broker and a real store."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
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

LOAD = SyntheticLoad(400, seed=3)


@dataclass(frozen=True, slots=True)
class Seen:
    """What `spindle status --json` said, and its exit code."""

    code: int
    data: Mapping[str, Any]

    @property
    def service(self) -> Mapping[str, Any]:
        """The part about tableinator."""
        part: Mapping[str, Any] = self.data["services"]["tableinator"]
        return part

    def total(self, outcome: str) -> int:
        """Records of all kinds that came to this end."""
        return sum(kind["outcomes"][outcome] for kind in self.service["kinds"].values())


@dataclass(frozen=True, slots=True)
class Scene:
    """tableinator's surroundings; graphinator is not looked at."""

    broker: Broker
    tables: Tables
    services: Services
    management_url: str

    async def start(self) -> Running:
        """Start one more replica."""
        return await self.services.start(Service.TABLEINATOR, {**self.broker.environment, **self.tables.environment})

    def environment(self, *replicas: Running, **more: str) -> dict[str, str]:
        """What an operator would set."""
        return {
            "PATH": os.environ["PATH"],
            **self.broker.environment,
            "RABBITMQ_MANAGEMENT_URL": self.management_url or "none",
            "STATUS_GRAPHINATOR": "none",
            "STATUS_TABLEINATOR": ",".join(each.place for each in replicas),
            **more,
        }

    async def status(self, *replicas: Running, **more: str) -> Seen:
        """Ask as an operator would."""
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "spindle", "status", "--json"],
            cwd=ROOT,
            env=self.environment(*replicas, **more),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.stdout, done.stderr
        return Seen(done.returncode, json.loads(done.stdout))


@pytest.fixture
def scene(broker: Broker, tables: Tables, services: Services, rabbitmq: servers.RabbitMQ) -> Scene:
    """A vhost and a database of the test's own."""
    return Scene(broker, tables, services, rabbitmq.management_url)


async def test_what_the_replicas_did_is_summed_and_one_that_is_killed_is_shown(scene: Scene) -> None:
    first, second = await scene.start(), await scene.start()
    count = await scene.broker.publish(LOAD)
    await first.until(lambda: first.settled() + second.settled() >= count, f"at {count} together")

    both = await scene.status(first, second)
    by_amqp = await scene.status(first, second, RABBITMQ_MANAGEMENT_URL="none")
    second.kill()
    one = await scene.status(first, second)
    first.kill()
    none = await scene.status(first, second)

    assert (both.code, both.data["problems"]) == (0, [])
    assert both.total("new") == count == by_amqp.total("new")
    assert all(kind["backlog"] == 0 == kind["dead_letter_queue"] for kind in both.service["kinds"].values())
    assert all(
        kind["latency_seconds"]["p50"] <= kind["latency_seconds"]["p99"] for kind in both.service["kinds"].values()
    )
    assert both.service["store"] == "PostgreSQL"
    assert (by_amqp.code, by_amqp.data["broker"]["asked_by"]) == (0, ["amqp"])
    assert (one.code, [replica["answers"] for replica in one.service["replicas"]].count(True)) == (1, 1)
    assert [replica["answers"] for replica in none.service["replicas"]] == [False, False]
    assert (none.code, none.data["verdict"]) == (2, "unreachable")


async def test_dead_letters_are_counted_and_name_their_queue(scene: Scene) -> None:
    running = await scene.start()
    await scene.broker.publish(LOAD, extra={"labels": [b"{", b"["]})
    await running.until_settled(402)

    seen = await scene.status(running)

    labels = seen.service["kinds"]["labels"]
    assert (seen.code, labels["outcomes"]["dead_lettered"], labels["dead_letter_queue"]) == (1, 2, 2)
    queue = scene.broker.names.dead_letter_queue(Service.TABLEINATOR, "labels")
    assert seen.data["problems"] == [f"tableinator, labels: 2 dead letters wait in {queue}"]


async def test_a_store_that_can_not_be_written_to_is_named_and_its_records_are_the_backlog(scene: Scene) -> None:
    running = await scene.start()
    await database.run(scene.tables.dsn, "DROP TABLE artists")
    count = await scene.broker.publish(SyntheticLoad(400, seed=3, kinds=("artists",)))
    await running.until(lambda: running.ready()[0] == 503, "red")

    seen = await scene.status(running)

    assert seen.code == 1
    assert seen.service["breaker_open"] and seen.service["store_alarm"]
    [replica] = seen.service["replicas"]
    assert replica["breaker"]["state"] in ("open", "half-open") and replica["breaker"]["failures"] > 0
    assert seen.service["kinds"]["artists"]["backlog"] >= count
    assert "PostgreSQL is held to be unavailable: A table is missing" in seen.data["problems"][0]


async def test_a_store_that_is_away_at_the_start_is_what_is_named(scene: Scene, tmp_path: Path) -> None:
    nowhere = {**scene.tables.environment, "POSTGRES_DSN": "postgresql://spindle@127.0.0.1:1/spindle"}
    running = Running(Service.TABLEINATOR, {**scene.broker.environment, **nowhere}, tmp_path / "waiting.log")
    try:
        await running.until(lambda: "Serving metrics" in running.log, "served")

        seen = await scene.status(running)
    finally:
        running.kill()

    [problem] = seen.data["problems"]
    assert seen.code == 1
    assert "waits for PostgreSQL" in problem


async def test_without_a_broker_nothing_is_hidden_and_all_ends_in_time(scene: Scene) -> None:
    running = await scene.start()

    seen = await scene.status(running, RABBITMQ_URL="amqp://guest:guest@127.0.0.1:1/", RABBITMQ_MANAGEMENT_URL="none")

    assert seen.code == 2
    assert "127.0.0.1:1" in seen.data["problems"][0]
    assert seen.service["replicas"][0]["ready"] is True
    assert seen.service["kinds"]["artists"]["backlog"] is None


# A run of the tests in the background of a script ignores SIGINT, and so would its children.
INTERRUPTIBLE = """
import signal, spindle.cli, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.exit(spindle.cli.main())
"""


async def test_a_watch_looks_again_until_it_is_interrupted_and_ends_with_the_last_verdict(scene: Scene) -> None:
    running = await scene.start()
    watch = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", INTERRUPTIBLE, "status", "--watch", "0.2", "--json"),
        cwd=ROOT,
        env=scene.environment(running),
        stdout=asyncio.subprocess.PIPE,
        limit=2**20,
    )
    assert watch.stdout is not None
    try:
        verdicts = [json.loads(await watch.stdout.readline())["verdict"] for _ in range(2)]
        running.kill()
        while verdicts[-1] != "unreachable":
            verdicts.append(json.loads(await watch.stdout.readline())["verdict"])
        watch.send_signal(signal.SIGINT)
        async with asyncio.timeout(60):
            code = await watch.wait()
    finally:
        with suppress(ProcessLookupError):
            watch.kill()

    assert verdicts[:2] == ["healthy", "healthy"]
    assert code == 2
