"""Turns of the kinds at Neo4j."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from graphinator.kind_lock import KindLock

pytestmark = pytest.mark.timeout(10)


class Visitors:
    """Transactions that end when they are told to; `inside` are the kinds of those that have begun, in order."""

    def __init__(self, writers: int) -> None:
        self.turns = KindLock(writers)
        self.inside: list[str] = []
        self._ends: dict[asyncio.Task[None], asyncio.Event] = {}

    def come(self, group: asyncio.TaskGroup, kind: str) -> asyncio.Task[None]:
        end = asyncio.Event()
        task = group.create_task(self._visit(kind, end))
        self._ends[task] = end
        return task

    async def end(self, task: asyncio.Task[None]) -> None:
        self._ends[task].set()
        await asyncio.wait([task])
        await settled()

    async def _visit(self, kind: str, end: asyncio.Event) -> None:
        async with self.turns.of(kind):
            self.inside.append(kind)
            try:
                await end.wait()
            finally:
                self.inside.remove(kind)


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@asynccontextmanager
async def come(visitors: Visitors, *kinds: str) -> AsyncIterator[list[asyncio.Task[None]]]:
    async with asyncio.TaskGroup() as group:
        tasks = [visitors.come(group, kind) for kind in kinds]
        await settled()
        yield tasks
        for task in tasks:
            await visitors.end(task)


async def test_a_kind_has_as_many_transactions_as_there_are_writers() -> None:
    visitors = Visitors(2)
    async with come(visitors, "releases", "releases", "releases") as tasks:
        assert visitors.inside == ["releases"] * 2

        await visitors.end(tasks[0])

        assert visitors.inside == ["releases"] * 2


async def test_two_kinds_are_never_inside_at_once() -> None:
    visitors = Visitors(2)
    async with come(visitors, "releases", "masters", "masters") as tasks:
        assert visitors.inside == ["releases"]

        await visitors.end(tasks[0])

        assert visitors.inside == ["masters"] * 2


async def test_a_kind_does_not_overtake_one_that_waits() -> None:
    visitors = Visitors(2)
    async with come(visitors, "releases", "masters", "releases") as tasks:
        assert visitors.inside == ["releases"]

        await visitors.end(tasks[0])

        assert visitors.inside == ["masters"]


@pytest.mark.parametrize("kind", ["artists", "labels"])
async def test_a_kind_with_edges_among_its_own_nodes_is_inside_once(kind: str) -> None:
    visitors = Visitors(2)
    async with come(visitors, kind, kind):
        assert visitors.inside == [kind]


async def test_who_gives_up_waiting_lets_those_behind_go_ahead() -> None:
    visitors = Visitors(2)
    async with come(visitors, "releases", "masters", "releases") as tasks:
        tasks[1].cancel()
        await settled()

        assert visitors.inside == ["releases"] * 2


async def test_a_turn_that_comes_in_the_moment_of_giving_up_is_passed_on() -> None:
    visitors = Visitors(1)
    async with come(visitors, "releases", "masters", "labels") as tasks:
        visitors._ends[tasks[0]].set()
        while not tasks[0].done():
            await asyncio.sleep(0)
        tasks[1].cancel()
        await settled()

        assert visitors.inside == ["labels"]
