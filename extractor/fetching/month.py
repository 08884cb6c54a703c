"""Fetch one month: look whether it is complete, take the sums, and then one file after the other."""

import fcntl
import os
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import structlog

from common.errors import StartRefused
from extractor.fetching.address import shown
from extractor.fetching.clock import Clock
from extractor.fetching.download import OnBytes, Wanted, download
from extractor.fetching.errors import FetchFailed, NoListing, NotFound
from extractor.fetching.http import Client
from extractor.fetching.listing import Month, checksums_of, month_of, page_of
from extractor.fetching.part import sum_of, sync_folder
from extractor.fetching.settings import FetchSettings
from extractor.manifest.checksums import sums_in

log = structlog.get_logger()

_PAGE_BYTES, _SUMS_BYTES = 4 * 1024 * 1024, 64 * 1024
_ROBIN = 0.1
"""Share of the interval that a watcher waits longer at random, so that not all look in the same second."""


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


@dataclass(slots=True)
class FetchReport:
    """A month."""

    month: Month
    folder: Path
    ending: Ending
    files: list[FileReport] = field(default_factory=list)
    failure: str = ""
    """What failed beside the files."""

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
    def _clock(self) -> Clock:
        return self.client.clock

    def run(self, month: str, *, watch: bool) -> FetchReport:
        """Fetch it; with `watch`, once it is complete.

        Raises: StartRefused, NoListing, FetchFailed if there is no listing to begin with.
        """
        with _alone_in(self.folder):
            listed = self.wait(month) if watch else self.look(month)
            if not listed.is_complete:
                return FetchReport(listed, self.folder, Ending.NOT_YET)
            return self._fetch(listed)

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

    def wait(self, month: str) -> Month:
        """Look until it is complete. The first look must succeed; later the server may be away for as long as it likes.

        Raises: as `look`.
        """
        listed = self.look(month)
        while not listed.is_complete:
            log.info("Not yet", month=month, listed=str(listed), next_look_seconds=round(self.settings.interval))
            self._clock.sleep(self.settings.interval * random.uniform(1.0, 1.0 + _ROBIN))  # noqa: S311 (no secret)
            try:
                listed = self.look(month)
            except (NoListing, FetchFailed) as error:
                log.warning("The listing can't be read; looking again later", month=month, reason=str(error))
        return listed

    def _fetch(self, month: Month) -> FetchReport:
        report = FetchReport(month, self.folder, Ending.COMPLETE)
        try:
            sums = self._sums(month)
        except (FetchFailed, OSError) as error:
            report.ending, report.failure = Ending.FAILED, _words(error)
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
            raise FetchFailed(f"{name} says no sha256 of {', '.join(lacking)}: a line is <64 hex digits> <name>")
        part = self.folder / f"{name}.part"
        part.write_text(text, encoding="utf-8")
        part.replace(self.folder / name)
        sync_folder(self.folder)
        return sums

    def _file(self, wanted: Wanted) -> FileReport:
        name, begun = wanted.path.name, self._clock.now()
        try:
            if self._is_there(wanted):
                size = wanted.path.stat().st_size
                return FileReport(name, Ending.COMPLETE, bytes=size, sha256=wanted.sha256)
            done = download(self.client, wanted, reserve=self.settings.reserve, on_bytes=self.on_bytes)
        except (FetchFailed, OSError) as error:
            return FileReport(name, Ending.FAILED, seconds=self._clock.now() - begun, failure=_words(error))
        seconds = self._clock.now() - begun
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
        yield f"{report.month.month}: not yet: {report.month}"
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


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Have the folder for this run. Raises: StartRefused."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (probe := folder / ".probe").write_bytes(b"")
        probe.unlink()
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise StartRefused(f"dumps can't be written to {folder}: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise StartRefused(f"another process is fetching into {folder}: wait for it, or name another folder") from error
    finally:
        os.close(descriptor)


def _words(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{error.filename or 'the disk'}: {error.strerror or error}"
    return str(error)
