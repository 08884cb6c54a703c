"""From a version without a ledger to this one, and back: tables, graph and queues of the older one are taken over."""

import subprocess
from pathlib import Path

import pytest

from common.kinds import Service
from extractor.synthetic.synthetic import SyntheticLoad
from tests.e2e.broker import Broker
from tests.e2e.services import ROOT, Running, Services
from tests.e2e.sides import Side, problems

OLDER = "741b50b"
"""The last commit whose services kept no ledger; its code is in the history."""

FIRST = SyntheticLoad(2_000, seed=11)
SECOND = SyntheticLoad(2_000, seed=11, month=FIRST.month + 1)


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The older version's code."""
    known = subprocess.run(
        ["git", "-C", str(ROOT), "cat-file", "-e", f"{OLDER}^{{commit}}"], capture_output=True, check=False
    )
    if known.returncode:
        pytest.skip(f"the history has no commit {OLDER}: a clone of part of it, or no clone")
    folder = tmp_path_factory.mktemp("older")
    archive = subprocess.run(["git", "-C", str(ROOT), "archive", OLDER], capture_output=True, check=True)
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive.stdout, check=True)
    return folder


async def test_what_an_older_version_stored_is_taken_over_and_may_be_given_back(
    older: Path, broker: Broker, services: Services, side: Side, tmp_path: Path
) -> None:
    environment = broker.environment | side.environment
    before = _Older(older, tmp_path)
    try:
        # The older version makes queues, tables and graph, stores a load, and leaves the next in its queues.
        old = await before.start(side.service, environment)
        published = await broker.publish(FIRST)
        await broker.until_drained(old)
        assert (await old.stop())[0] == 0
        await broker.publish(SECOND)

        new = await services.start(side.service, environment)
        await broker.until_drained(new)
        assert await problems(side, SECOND) == {}
        await broker.publish(SECOND)
        await broker.until_drained(new)
        outcomes = new.metrics().outcomes()
        assert outcomes["unchanged"] > published, "what the older version stored is known"
        assert (await new.stop())[0] == 0

        # The way back: nothing of the ledger is in its way.
        old = await before.start(side.service, environment)
        await broker.publish(SECOND)
        await broker.until_drained(old)
        assert set(old.metrics().outcomes()) == {"unchanged"}
        assert (await old.stop())[0] == 0
        assert await problems(side, SECOND) == {}
        assert await broker.dead_letters(side.service) == 0
    finally:
        before.end()


class _Older:
    """Processes of the older version."""

    def __init__(self, code: Path, folder: Path) -> None:
        self._code, self._folder = code, folder
        self._started: list[Running] = []

    async def start(self, service: Service, environment: dict[str, str]) -> Running:
        """Start one, and wait until it is ready."""
        log = self._folder / f"older-{service}-{len(self._started)}.log"
        running = Running(service, environment, log, root=self._code)
        self._started.append(running)
        await running.until_ready()
        return running

    def end(self) -> None:
        """End whatever still runs."""
        for running in self._started:
            running.kill()
