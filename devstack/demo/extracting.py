"""Run the extractor beside us, and know how far it is."""

import json
import re
import subprocess
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from common.errors import SpindleError
from devstack.demo.stacks import Stack
from devstack.stack.files import last_lines
from spindle.sources import Source

_END_SECONDS = 20.0
_PROGRESS = re.compile(rb"data_type=(\w+) published=(\d+)")


class ExtractionFailed(SpindleError):
    """The extractor did not publish everything; the text holds the end of its log."""


class Extraction:
    """One run of the extractor; use as a context manager, which ends it if it still runs."""

    def __init__(self, stack: Stack, source: Source, folder: Path) -> None:
        self.log = folder / "extractor.log"
        self._report = folder / "extractor.json"
        self.published: dict[str, int] = {}
        """What each kind is known to have published, from the log; complete once it has ended."""
        with self._report.open("wb") as report, self.log.open("wb") as log:
            self._process = stack.extract(source, report=report, log=log)
        self._lines: IO[bytes] = self.log.open("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._lines.close()
        end(self._process)

    def has_ended(self) -> bool:
        """Look at the process, and take in what it has logged since the last look.

        Raises: ExtractionFailed.
        """
        code = self._process.poll()
        for kind, count in _PROGRESS.findall(self._lines.read()):
            self.published[kind.decode()] = int(count)
        if code is None:
            return False
        if code != 0:
            raise ExtractionFailed(
                f"the extractor ended with exit code {code}; the end of {self.log}:\n{last_lines(self.log)}"
            )
        self.published = {kind: report["published"] for kind, report in self._read_report()["kinds"].items()}
        return True

    def skipped(self) -> Mapping[str, int]:
        """How many records were passed over, by reason, once it has ended.

        Raises: ExtractionFailed.
        """
        reasons: Counter[str] = Counter()
        for kind in self._read_report()["kinds"].values():
            reasons.update(kind["skipped"])
        return reasons

    def _read_report(self) -> Mapping[str, Any]:
        try:
            report: dict[str, Any] = json.loads(self._report.read_bytes())
        except ValueError as error:
            raise ExtractionFailed(f"the extractor's report in {self._report} can't be read: {error}") from error
        return report


def end(process: "subprocess.Popen[bytes]") -> None:
    """End a process, if it still runs."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
