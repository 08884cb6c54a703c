"""Wait for a month: look now and then until all of it is published and fetched, but not without end.

While it waits, it does not have the folder: another run may, such as the next month's.
"""

import random
from collections import Counter
from datetime import UTC, datetime, timedelta

import structlog

from extractor.fetching.errors import FetchFailed, NoListing, WrongSum
from extractor.fetching.folder import FolderBusy, alone_in, writable
from extractor.fetching.listing import Month, checksums_of
from extractor.fetching.month import Ending, Fetching, FetchReport

log = structlog.get_logger()

_LONGEST = timedelta(days=45)
"""From a month's first day: dumps come up to two weeks late, and one that is six weeks late is not coming."""

_WRONG_SUMS = 3
"""Of one file, after which the month has failed: each has cost the whole file."""

_LOOKS = 24
"""At what is listed and not found, or has no sum, after which the month has failed: a day at the default interval."""

_ROBIN = 0.1
"""Share of the interval that a watcher waits longer at random, so that not all look in the same second."""


class Watch:
    """Waits for one month."""

    def __init__(self, fetching: Fetching, month: str) -> None:
        self._fetching, self._month = fetching, month
        self._tries = Counter[tuple[str, type]]()
        """By what failed and how."""
        self._first = datetime.strptime(month, "%Y-%m").replace(tzinfo=UTC)

    def run(self) -> FetchReport:
        """Fetch it once it is complete. The first look must succeed; later the server may be away for a while.

        Raises: StartRefused if the folder can't be written to; NoListing, FetchFailed at the first look.
        """
        writable(self._fetching.folder)
        listed = self._fetching.look(self._month)
        while True:
            report = self._try(listed)
            if report.ending is Ending.COMPLETE or (report.ending is Ending.FAILED and not self._may_come(report)):
                return report
            if reason := self._over():
                if report.ending is Ending.NOT_YET:
                    report.failure = report.failure or reason
                return report
            self._wait(report)
            listed = self._look_again(listed)

    def _try(self, listed: Month) -> FetchReport:
        """Fetch what is listed; if another run is in the folder, it is not yet our turn."""
        if listed.is_complete:
            try:
                with alone_in(self._fetching.folder):
                    return self._fetching.fetch(listed)
            except FolderBusy as error:
                return FetchReport(listed, self._fetching.folder, Ending.NOT_YET, failure=str(error))
        return FetchReport(listed, self._fetching.folder, Ending.NOT_YET)

    def _may_come(self, report: FetchReport) -> bool:
        """Whether all that failed may only be unfinished, and none of it has been so too often."""
        failed = [(file.name, file.unfinished) for file in report.files if file.ending is Ending.FAILED]
        if report.failure:
            failed.append((checksums_of(report.month.date), report.unfinished))
        may_come = True
        for name, error in failed:
            self._tries[name, type(error)] += 1
            most = _WRONG_SUMS if isinstance(error, WrongSum) else _LOOKS
            may_come = may_come and error is not None and self._tries[name, type(error)] < most
        return may_come

    def _over(self) -> str:
        """Why it is waited for no longer; empty if it is."""
        now = self._fetching.clock.utc()
        if now - self._first > _LONGEST:
            return f"given up, because {_LONGEST.days} days have passed since its first day"
        following = self._first + timedelta(days=31)  # is in the next month, whatever this one's length
        if now < following.replace(day=1):
            return ""
        later = f"{following:%Y-%m}"
        try:
            is_overtaken = self._fetching.look(later).is_complete
        except (NoListing, FetchFailed) as error:
            log.warning("The listing of the month behind it can't be read", month=later, reason=str(error))
            return ""
        return f"given up, because {later} is complete" if is_overtaken else ""

    def _wait(self, report: FetchReport) -> None:
        interval = self._fetching.settings.interval
        failures = [report.failure, *(file.failure for file in report.files)]
        reasons = {"reason": "; ".join(filter(None, failures))} if any(failures) else {}
        log.info("Not yet", month=self._month, listed=str(report.month), next_look_seconds=round(interval), **reasons)
        self._fetching.clock.sleep(interval * random.uniform(1.0, 1.0 + _ROBIN))  # noqa: S311 (no secret)

    def _look_again(self, listed: Month) -> Month:
        """What is published now; what was, if that can't be read."""
        try:
            return self._fetching.look(self._month)
        except (NoListing, FetchFailed) as error:
            log.warning("The listing can't be read; looking again later", month=self._month, reason=str(error))
            return listed
