"""One run: two replicas of each service under full load; one is restarted again and again, the other is watched.

What is watched is never restarted, and shares its queues with what comes and goes: whatever a restart, a redelivery or
an hour of work leaves behind shows in it.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from common.kinds import KINDS, Service
from tests.chaos.supervising import Supervised
from tests.e2e.broker import Broker
from tests.e2e.services import Running
from tests.e2e.sides import Graph, Side, Tables
from tests.endurance.counted import METRIC
from tests.endurance.judging import Sample, trends
from tests.endurance.loading import Stream, pause
from tests.integration import graphs, tables

RECORDS = {Service.TABLEINATOR: 20_000, Service.GRAPHINATOR: 10_000}
"""Of each service's load: what its store holds, however long the run."""
BACKLOG = {Service.TABLEINATOR: 12_000, Service.GRAPHINATOR: 6_000}
"""More than two replicas' prefetch: both always find enough."""
_SAMPLES = 400
_ENDING = 300.0
"""Seconds for what has begun when the time is over."""


@dataclass(slots=True)
class Pair:
    """One service: its stream, the replica that stays, and the one that is restarted."""

    side: Side
    stream: Stream
    steady: Running
    restarted: Supervised
    samples: list[Sample] = field(default_factory=list)
    lost: int = 0
    wrong: int = 0
    dead_letters: int = 0

    def complaints(self) -> list[str]:
        """What is not as it must be, in sentences."""
        name = self.side.service
        found = [
            f"{name}: {measure} have grown" for measure, trend in trends(self.samples).items() if not trend.is_flat
        ]
        if self.lost or self.wrong or self.dead_letters:
            found.append(f"{name}: {self.lost} lost, {self.wrong} wrong, {self.dead_letters} dead letters")
        if self.restarted.ended_by_itself:
            found.append(f"{name}: ended by itself with {self.restarted.ended_by_itself}")
        if codes := [drain.code for drain in self.restarted.drains if drain.code]:
            found.append(f"{name}: SIGTERM ended with {codes}")
        return found

    def document(self) -> dict[str, Any]:
        """Everything that was found."""
        return {
            "published": self.stream.published,
            "settled_by_the_steady_replica": self.samples[-1].settled,
            "restarts": len(self.restarted.drains),
            "slowest_drain_seconds": max((drain.seconds for drain in self.restarted.drains), default=None),
            "most_resident_bytes_of_the_restarted_one": self.restarted.rss,
            "lost": self.lost,
            "wrong": self.wrong,
            "dead_letters": self.dead_letters,
            "quarters": {name: asdict(trend) for name, trend in trends(self.samples).items()},
            "samples": [asdict(sample) for sample in self.samples],
        }


@asynccontextmanager
async def pair_of(side: Side, url: str, folder: Path) -> AsyncIterator[Pair]:
    """Start a service's two replicas; they are killed at the end, however that comes."""
    broker = Broker(url)
    environment = broker.environment | side.environment
    await broker.declare(side.service)
    stream = Stream(broker, side.service, records=RECORDS[side.service], backlog=BACKLOG[side.service])
    log, program = folder / f"{side.service}.log", ("tests.endurance.counted", side.service)
    steady = Running(side.service, environment, log, program=program)
    restarted = Supervised(side.service, environment, folder)
    async with asyncio.TaskGroup() as group:
        supervision = group.create_task(restarted.run())
        try:
            await steady.until_ready()
            await restarted.until_ready()
            yield Pair(side, stream, steady, restarted)
        finally:
            restarted.end()
            steady.kill()
            supervision.cancel()


async def load(pairs: Iterable[Pair], *, seconds: float, restart_every: float) -> None:
    """Have all pairs under full load for so long, then let them drain, and compare what is stored with what must be."""
    over = asyncio.Event()
    async with asyncio.timeout(seconds + _ENDING), asyncio.TaskGroup() as group:
        for pair in pairs:
            group.create_task(pair.stream.run(over))
            group.create_task(_watch(pair, over, every=seconds / _SAMPLES))
            group.create_task(_restart(pair, over, every=restart_every))
        await asyncio.sleep(seconds)
        over.set()
    for pair in pairs:
        await pair.restarted.stop(for_good=True)
        await pair.stream.broker.until_drained(pair.steady)
        await _compare(pair)


async def _watch(pair: Pair, over: asyncio.Event, *, every: float) -> None:
    began = time.monotonic()
    # Once the other has been restarted this one has met all that comes, the whole stream alone included: before, what
    # it holds rises as it must.
    while not (pair.restarted.drains or over.is_set()):
        await pause(over, every)
    while not over.is_set():
        metrics = await asyncio.to_thread(pair.steady.metrics)
        sample = Sample(
            round(time.monotonic() - began, 2),
            pair.steady.resident_bytes(),
            pair.steady.descriptors(),
            int(metrics.sum(METRIC)),
            int(metrics.sum("spindle_records_total")),
        )
        pair.samples.append(sample)
        await pause(over, every)


async def _restart(pair: Pair, over: asyncio.Event, *, every: float) -> None:
    while not over.is_set():
        await pause(over, every)
        if not over.is_set():
            await pair.restarted.stop()


async def _compare(pair: Pair) -> None:
    expected = pair.stream.expected()
    for kind in KINDS:
        found = await _stored(pair.side, kind)
        pair.lost += len(expected[kind].keys() - found.keys())
        pair.wrong += sum(expected[kind].get(record_id) != load for record_id, load in found.items())
    pair.dead_letters = await pair.stream.broker.dead_letters(pair.side.service)


async def _stored(side: Side, kind: str) -> dict[str, str]:
    if isinstance(side, Tables):
        return {row[0]: row[1] for row in await tables.fetch(side.dsn, f"SELECT data_id, version FROM {kind}")}
    assert isinstance(side, Graph)
    label = kind.removesuffix("s").capitalize()
    rows = await graphs.fetch(side.server, f"MATCH (n:{label}) WHERE n.hash IS NOT NULL RETURN n.id, n.load")
    return dict(rows)
