"""The extractor alone: one process from a dump's XML to confirmed messages in a queue that nobody reads."""

import json
import resource
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.arms import Arm, Run, Watch, WrongStore
from bench.consumers import Process
from bench.dump import write_dump
from bench.queues import Queue
from bench.stage import Stage
from common.kinds import Service

_LIMIT = 300.0
_NEXT_MONTH = "20000201"
"""Later than any bench's records, which are of 1 January 2000."""


class Extractor:
    """`python -m extractor` on a file of releases; with a state folder it lists them in a manifest, too."""

    def __init__(self, name: str, stage: Stage, *, state: Path | None = None, parsers: int = 1) -> None:
        self.name = name
        self._stage = stage
        self._more = {"EXTRACTOR_PARSERS": str(parsers), **({"SPINDLE_STATE": str(state)} if state else {})}
        self._dump = stage.folder / f"discogs_{stage.load.date}_releases.xml"
        self._queue = Queue(stage.rabbitmq_url, Service.TABLEINATOR)
        self._published = len(stage.releases)
        self._process: Process | None = None

    async def prepare(self) -> None:
        """Have the file, and an empty queue."""
        if not self._dump.exists():
            write_dump(self._dump, self._stage.releases)
        await self._queue.make()

    async def run(self, watch: Watch) -> Run:
        """Run it to its end. Its own report says how long it took without starting: that is its rate."""
        return await self._measured(watch)

    async def check(self) -> None:
        """Count what is in the queue: the records and two control messages."""
        waiting, wanted = await self._queue.waiting(), self._published + 2
        if waiting != wanted:
            raise WrongStore(f"the queue holds {waiting} messages, not {wanted}")

    async def _measured(self, watch: Watch, *arguments: str) -> Run:
        before = _children_cpu()
        watch.start()
        said = await self._extract(self._dump, *arguments)
        watch.stop()
        records = len(self._stage.releases)
        return Run(
            records,
            {
                "rate": records / said["seconds"],
                "client_cpu_us": (_children_cpu() - before) * 1e6 / records,
                "cpu_us": said["cpu_seconds"] * 1e6 / records,
                "parsers_cpu_us": said["parsers_cpu_seconds"] * 1e6 / records,
            },
        )

    async def _extract(self, dump: Path, *arguments: str) -> dict[str, Any]:
        """Returns: what it reports of the releases. Raises: RuntimeError if it fails."""
        more = {"EXTRACTOR_REQUIRE": "tableinator", "EXTRACTOR_MAX_BACKLOG": "10000000", "LOG_LEVEL": "warning"}
        report = self._stage.folder / "extractor.json"
        argv = [sys.executable, "-m", "extractor", str(dump), "--report", str(report), "--from-start", *arguments]
        process = self._process = Process(
            argv, {**self._queue.environment, **more, **self._more}, self._stage.folder / "extractor.log"
        )
        if code := await process.wait(_LIMIT):
            raise RuntimeError(f"the extractor ended with {code}; its log says:\n{process.log[-2000:]}")
        said: dict[str, Any] = json.loads(report.read_text())["kinds"]["releases"]
        return said

    def processes(self) -> Mapping[str, int]:
        """None that lives on: the command is over when its span is."""
        return {}

    async def end(self) -> None:
        """Stop it if it still runs."""
        if self._process is not None:
            await self._process.end()
        await self._queue.make()


class Delta(Extractor):
    """The next month's file, one release in twenty changed, by `--since`: what has the same bytes is not parsed."""

    def __init__(self, name: str, stage: Stage) -> None:
        super().__init__(name, stage, state=stage.folder / "delta")
        self._before, self._dump = self._dump, stage.folder / f"discogs_{_NEXT_MONTH}_releases.xml"
        self._published = sum(new is not old for new, old in zip(stage.changed, stage.releases, strict=True))

    async def prepare(self) -> None:
        """Have both files, the first one's manifest, and an empty queue."""
        if not self._dump.exists():
            write_dump(self._before, self._stage.releases)
            write_dump(self._dump, self._stage.changed)
            await self._queue.make()
            await self._extract(self._before)
        await self._queue.make()

    async def run(self, watch: Watch) -> Run:
        """As of a whole file; the rate is that of the releases in it, published or not."""
        return await self._measured(watch, "--since", self._stage.load.date)


def arms(stage: Stage) -> list[Arm]:
    """In one process, and with two parsers beside it; with a manifest, and with that of the month before."""
    return [
        Extractor("extractor", stage),
        Extractor("extractor_parsers", stage, parsers=2),
        Extractor("extractor_manifest", stage, state=stage.folder / "state"),
        Delta("extractor_delta", stage),
    ]


def _children_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
