"""The extractor alone: one process from a dump's XML to confirmed messages in a queue that nobody reads."""

import json
import resource
import sys
from collections.abc import Mapping
from pathlib import Path

from bench.arms import Arm, Run, Watch, WrongStore
from bench.consumers import Process
from bench.dump import write_dump
from bench.queues import Queue
from bench.stage import Stage
from common.kinds import Service

_LIMIT = 300.0


class Extractor:
    """`python -m extractor` on a file of releases; with a state folder it lists them in a manifest, too."""

    def __init__(self, name: str, stage: Stage, *, state: Path | None = None) -> None:
        self.name = name
        self._stage = stage
        self._more = {"SPINDLE_STATE": str(state)} if state else {}
        self._dump = stage.folder / f"discogs_{stage.load.date}_releases.xml"
        self._queue = Queue(stage.rabbitmq_url, Service.TABLEINATOR)
        self._process: Process | None = None

    async def prepare(self) -> None:
        """Have the file, and an empty queue."""
        if not self._dump.exists():
            write_dump(self._dump, self._stage.releases)
        await self._queue.make()

    async def run(self, watch: Watch) -> Run:
        """Run it to its end. Its own report says how long it took without starting: that is its rate."""
        more = {"EXTRACTOR_REQUIRE": "tableinator", "EXTRACTOR_MAX_BACKLOG": "10000000", "LOG_LEVEL": "warning"}
        report = self._stage.folder / "extractor.json"
        argv = [sys.executable, "-m", "extractor", str(self._dump), "--report", str(report), "--from-start"]
        before = _children_cpu()
        watch.start()
        process = self._process = Process(
            argv, {**self._queue.environment, **more, **self._more}, self._stage.folder / "extractor.log"
        )
        code = await process.wait(_LIMIT)
        watch.stop()
        if code:
            raise RuntimeError(f"the extractor ended with {code}; its log says:\n{process.log[-2000:]}")
        said = json.loads(report.read_text())["kinds"]["releases"]
        records = int(said["published"])
        return Run(records, {"rate": said["rate"], "client_cpu_us": (_children_cpu() - before) * 1e6 / records})

    async def check(self) -> None:
        """Count what is in the queue: the records and two control messages."""
        waiting, wanted = await self._queue.waiting(), len(self._stage.releases) + 2
        if waiting != wanted:
            raise WrongStore(f"the queue holds {waiting} messages, not {wanted}")

    def processes(self) -> Mapping[str, int]:
        """None that lives on: the command is over when its span is."""
        return {}

    async def end(self) -> None:
        """Stop it if it still runs."""
        if self._process is not None:
            await self._process.end()
        await self._queue.make()


def arms(stage: Stage) -> list[Arm]:
    """Without a manifest, and with one."""
    return [Extractor("extractor", stage), Extractor("extractor_manifest", stage, state=stage.folder / "state")]


def _children_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
