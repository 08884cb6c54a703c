"""Fetch one month: look whether it is complete, take the sums, and then one file after the other."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import structlog

from extractor.fetching.address import shown
from extractor.fetching.clock import Clock
from extractor.fetching.download import OnBytes, Wanted, download
from extractor.fetching.errors import FetchFailed, NoListing, NoSum, NotFound, Unfinished
from extractor.fetching.folder import alone_in, writable
from extractor.fetching.http import Client
from extractor.fetching.listing import Month, checksums_of, month_of, page_of
from extractor.fetching.part import sum_of, sync_folder
from extractor.fetching.settings import FetchSettings
from extractor.manifest.checksums import sums_in

log = structlog.get_logger()

_PAGE_BYTES, _SUMS_BYTES = 4 * 1024 * 1024, 64 * 1024


class Ending(StrEnum):
    """How fetching a month, or one file of it, came to an end."""

    COMPLETE = "complete"
    NOT_YET = "not yet"
    """The publisher has not laid out all of it."""
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class FileReport:
    """One file."""

    name: str
    ending: Ending
    fetched: bool = False
    """False: it was there already, with the right sum."""
    bytes: int = 0
    resumed: int = 0
    attempts: int = 0
    seconds: float = 0.0
    sha256: str = ""
    failure: str = ""
    unfinished: Unfinished | None = None
    """What failed, if the publisher may still be at it."""


@dataclass(slots=True)
class FetchReport:
    """A month."""

    month: Month
    folder: Path
    ending: Ending
    files: list[FileReport] = field(default_factory=list)
    failure: str = ""
    """What failed beside the files, or why the month is waited for no longer."""
    unfinished: Unfinished | None = None
    """What failed of the checksums, if the publisher may still be at it."""

    @property
    def exit_code(self) -> int:
        """0: all of it is there; 1: not all, and why; 3: it is not published yet."""
        return {Ending.COMPLETE: 0, Ending.FAILED: 1, Ending.NOT_YET: 3}[self.ending]


@dataclass(frozen=True, slots=True)
class Fetching:
    """What it takes to fetch a month into a folder."""

    settings: FetchSettings
    folder: Path
    client: Client
    on_bytes: OnBytes

    @property
    def clock(self) -> Clock:
        """What tells the time."""
        return self.client.clock

    def run(self, month: str) -> FetchReport:
        """Fetch it if it is complete.

        Raises: StartRefused; NoListing, FetchFailed if there is no listing to begin with.
        """
        writable(self.folder)
        with alone_in(self.folder):
            return self.fetch(self.look(month))

    def look(self, month: str) -> Month:
        """What of it is published. Raises: NoListing, FetchFailed."""
        url = page_of(self.settings.url, month)
        try:
            return month_of(self.client.text(url, _PAGE_BYTES), url, month)
        except NotFound:
            # In January there may be no page of the year; but where there are no pages at all, nothing will ever come.
            month_of(self.client.text(self.settings.url, _PAGE_BYTES), self.settings.url, month)
            return Month(month)
        except NoListing as error:
            raise NoListing(f"{shown(url)}: {error}") from error

    def fetch(self, month: Month) -> FetchReport:
        """Fetch what was seen, if it is complete. The caller has the folder alone."""
        if not month.is_complete:
            return FetchReport(month, self.folder, Ending.NOT_YET)
        report = FetchReport(month, self.folder, Ending.COMPLETE)
        try:
            sums = self._sums(month)
        except (FetchFailed, OSError) as error:
            report.ending, report.failure, report.unfinished = Ending.FAILED, _words(error), _unfinished(error)
            return report
        for name in month.names[1:]:
            report.files.append(self._file(Wanted(month.links[name], self.folder / name, sums[name])))
        if any(file.ending is not Ending.COMPLETE for file in report.files):
            report.ending = Ending.FAILED
        return report

    def _sums(self, month: Month) -> Mapping[str, str]:
        """The published sums, by name, which are kept beside the files. Raises: FetchFailed, OSError."""
        name = checksums_of(month.date)
        text = self.client.text(month.links[name], _SUMS_BYTES)
        sums = sums_in(text)
        if lacking := [each for each in month.names[1:] if each not in sums]:
            raise NoSum(f"{name} says no sha256 of {', '.join(lacking)}: a line is <64 hex digits> <name>")
        part = self.folder / f"{name}.part"
        part.write_text(text, encoding="utf-8")
        part.replace(self.folder / name)
        sync_folder(self.folder)
        return sums

    def _file(self, wanted: Wanted) -> FileReport:
        name, begun = wanted.path.name, self.clock.now()
        try:
            if self._is_there(wanted):
                size = wanted.path.stat().st_size
                return FileReport(name, Ending.COMPLETE, bytes=size, sha256=wanted.sha256)
            done = download(self.client, wanted, reserve=self.settings.reserve, on_bytes=self.on_bytes)
        except (FetchFailed, OSError) as error:
            seconds = self.clock.now() - begun
            return FileReport(
                name, Ending.FAILED, seconds=seconds, failure=_words(error), unfinished=_unfinished(error)
            )
        seconds = self.clock.now() - begun
        log.info("Fetched", file=name, bytes=done.bytes, resumed=done.resumed, attempts=done.attempts)
        return FileReport(
            name, Ending.COMPLETE, True, done.bytes, done.resumed, done.attempts, seconds, sha256=wanted.sha256
        )

    def _is_there(self, wanted: Wanted) -> bool:
        """Whether nothing is to be fetched. What has the name and another sum is put aside, for it is not ours to
        destroy.
        """
        if not wanted.path.exists():
            return False
        if (found := sum_of(wanted.path)) == wanted.sha256:
            return True
        aside = wanted.path.with_name(f"{wanted.path.name}.{found[:8]}")
        wanted.path.replace(aside)
        log.warning("A file has another sum than was published: it was put aside", file=aside.name)
        return False


def to_json(report: FetchReport) -> dict[str, Any]:
    """The report as data."""
    month = report.month
    return {
        "month": month.month,
        "load": month.date,
        "folder": str(report.folder),
        "state": report.ending,
        "listed": [name for name in month.names if name in month.links],
        "missing": list(month.missing) if month.date else [],
        "failure": report.failure,
        "files": [
            {
                "name": file.name,
                "state": file.ending,
                "fetched": file.fetched,
                "bytes": file.bytes,
                "resumed": file.resumed,
                "attempts": file.attempts,
                "seconds": round(file.seconds, 3),
                "sha256": file.sha256,
                "failure": file.failure,
            }
            for file in report.files
        ],
    }


def sentences(report: FetchReport) -> Iterator[str]:
    """The report for a person."""
    if report.ending is Ending.NOT_YET:
        yield f"{report.month.month}: not yet: {report.month}" + (f"; {report.failure}" if report.failure else "")
        return
    if report.failure:
        yield f"{report.month.month}: failed: {report.failure}"
        return
    for file in report.files:
        if file.failure:
            yield f"{file.name}: failed: {file.failure}"
        elif not file.fetched:
            yield f"{file.name}: was there, its sha256 is right"
        else:
            rate = (file.bytes - file.resumed) / 1e6 / max(file.seconds, 0.001)
            yield f"{file.name}: fetched, {file.bytes / 1e6:,.1f} MB at {rate:,.1f} MB/s, its sha256 is right"


def _words(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{error.filename or 'the disk'}: {error.strerror or error}"
    return str(error)


def _unfinished(error: Exception) -> Unfinished | None:
    return error if isinstance(error, Unfinished) else None
