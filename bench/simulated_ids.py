"""A check of as many ids as a whole dump has, against a store that is made up: `python -m bench.simulated_ids`.

The manifest lists 34,600,000 ids, the store lacks one in a thousand and has as many others that are gone from the dump.
What is measured is the check with what it takes to make up the ids: its memory, and CPU for an id (some five minutes).
"""

import argparse
import asyncio
import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from bench.processes import cpu_seconds
from extractor.manifest.format import PUBLISHED
from spindle.checking.check import Check, Pace
from spindle.checking.classes import Class, Entry
from spindle.checking.id_set import IdSet

RECORDS = 34_600_000
LOAD, KIND = "20260901", "releases"
_LOST_EVERY = 1000


class MadeUp:
    """Manifest and store in one: which ids there are is a matter of arithmetic."""

    load, kind, digest, store = LOAD, KIND, "made up", "postgresql"

    def __init__(self, records: int) -> None:
        self.records = records
        self.changed = records // _LOST_EVERY
        """How many are lost, and how many are in the store alone: those above `records`."""
        self._ids = records + self.changed

    def entries(self, start: int = 0) -> Iterator[Entry]:
        """The rows of the manifest."""
        return ((number, f"{number:016x}", PUBLISHED) for number in range(start + 1, self.records + 1))

    def ids(self) -> Iterator[int]:
        """The manifest's ids."""
        return iter(range(1, self.records + 1))

    async def who(self, _kind: str) -> tuple[str, datetime]:
        """Who the store is, and its clock."""
        return "made up", datetime.now(UTC)

    async def look_up(self, _kind: str, ids: Sequence[str]) -> dict[str, tuple[str, str | None, bool]]:
        """All but one in a thousand, as the manifest has them."""
        return {each: (f"{int(each):016x}{0:048x}", LOAD, True) for each in ids if int(each) % _LOST_EVERY}

    async def page(self, _kind: str, behind: str, size: int) -> tuple[list[tuple[str, str | None]], str]:
        """The next ids of the store."""
        first = int(behind)
        last = min(first + size, self._ids)
        stored = (number for number in range(first + 1, last + 1) if number % _LOST_EVERY or number > self.records)
        return [(str(number), LOAD) for number in stored], str(last)

    async def estimate(self, _kind: str) -> int:
        """How many there are."""
        return self._ids


async def _no_letters() -> IdSet:
    return IdSet()


def main(argv: Sequence[str] | None = None) -> int:
    """Check, and print what it took; exit code 1 if the check has miscounted."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.simulated_ids", description="Check as many ids as a dump has."
    )
    parser.add_argument("--records", type=int, default=RECORDS, metavar="N", help=f"ids (default {RECORDS:,})")
    records = parser.parse_args(argv).records
    made_up = MadeUp(records)
    begun, used, before = time.perf_counter(), cpu_seconds(os.getpid()), _peak()
    with tempfile.TemporaryDirectory() as folder:
        check = Check(made_up, made_up, _no_letters, beginning="0", folder=Path(folder), pace=Pace(float("inf")))
        counts = asyncio.run(check.run()).counts
    lost, gone = counts.of[Class.LOST], counts.of[Class.GONE]
    seconds, used = time.perf_counter() - begun, cpu_seconds(os.getpid()) - used
    print(
        f"{records:,} ids in {seconds:,.0f} s, {used / records * 1e6:.1f} µs of CPU each; memory at most "
        f"{_peak():,.0f} MB ({before:,.0f} MB before); lost {lost:,}, gone {gone:,}"
    )
    return 0 if lost == gone == made_up.changed else 1


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


if __name__ == "__main__":
    sys.exit(main())
