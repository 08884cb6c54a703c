"""Fetch one file whole: go on where a connection broke, and let only the published sum say that it is there.

No length that a server tells decides anything. What arrives is hashed as it is written; when the bytes end, for
whatever reason, the sum says whether they are the file.
"""

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from extractor.fetching.errors import FetchFailed, WrongSum
from extractor.fetching.http import Answer, Client, Unanswered
from extractor.fetching.part import Part
from extractor.fetching.waiting import Pace, Patience

log = structlog.get_logger()

OnBytes = Callable[[str, int, int | None], None]
"""Told a file's name, how many of its bytes are there, and of how many; None: nobody has said."""

_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)")
_LOOK_AT_DISK = 64 * 1024 * 1024
"""Bytes between two looks at what is free: other programs write there too, and a body may be longer than it says."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file to fetch."""

    url: str
    path: Path
    sha256: str
    """As published, in hex."""


@dataclass(slots=True)
class Done:
    """How it was fetched."""

    bytes: int = 0
    resumed: int = 0
    """Of the bytes: written by an earlier run."""
    attempts: int = 0


def download(client: Client, wanted: Wanted, *, reserve: int, on_bytes: OnBytes) -> Done:
    """Fetch it; `reserve` bytes stay free on its disk.

    Raises: WrongSum, with nothing kept; FetchFailed or OSError, with what came kept in `NAME.part`.
    """
    with Part(wanted.path) as part:
        return _Download(client, wanted, part, reserve, on_bytes).run()


class _Download:
    def __init__(self, client: Client, wanted: Wanted, part: Part, reserve: int, on_bytes: OnBytes) -> None:
        self._client, self._wanted, self._part = client, wanted, part
        self._reserve, self._on_bytes = reserve, on_bytes
        self._patience = Patience(client.clock, client.patience)
        self._highest = part.position
        self._in_pieces = part.position > 0
        self._has_ranges = self._began_again = False
        self._looked_at = 0
        self._done = Done()

    def run(self) -> Done:
        """Ask until the sum is right."""
        while not self._is_whole():
            self._done.attempts += 1
            highest = self._highest
            try:
                self._ask()
            except Unanswered as error:
                if self._is_whole():
                    break
                self._wait(error)
            else:
                self._judge_end(grew=self._highest > highest)
        self._done.bytes, self._done.resumed = self._part.position, self._part.resumed
        self._part.finish()
        return self._done

    def _is_whole(self) -> bool:
        return self._part.position > 0 and self._part.sha256 == self._wanted.sha256

    def _ask(self) -> None:
        """Take what one answer brings. Raises: Unanswered, FetchFailed, OSError."""
        headers = {}
        if self._part.position:
            headers["Range"] = f"bytes={self._part.position}-"
            if self._part.validator:
                headers["If-Range"] = self._part.validator
        with self._client.ask(self._wanted.url, headers, also=416) as answer:
            if answer.status == 416:
                return  # there is nothing behind what is here: the sum decides
            if not self._goes_on(answer):
                return
            pace = Pace(self._client.clock, self._client.patience)
            for chunk in answer.chunks():
                self._take(chunk)
                if not pace.keeps_up(len(chunk)):
                    raise Unanswered("the server sends less than 1 kB/s")

    def _goes_on(self, answer: Answer) -> bool:
        """Whether the answer's bytes can be used, with the part put where they begin.

        Raises: Unanswered, with the part as it was; FetchFailed.
        """
        part = self._part
        if _is_page(answer):
            raise Unanswered("the server sent a web page instead of the file, as during maintenance")
        if answer.status == 206:
            found = _RANGE.fullmatch(answer.headers.get("Content-Range", "").strip())
            total = int(found[3]) if found and found[3] != "*" else part.total
            if not found or int(found[1]) != part.position or (total or part.position) < part.position:
                log.warning("The server sent another range than it was asked for", file=self._wanted.path.name)
                part.begin_again()
                return False
        else:
            part.begin_again()
            total = answer.length
        self._in_pieces = part.position > 0
        self._has_ranges = answer.status == 206 or answer.headers.get("Accept-Ranges") == "bytes"
        part.note(_validator(answer), total)
        self._check_disk()
        return True

    def _take(self, chunk: bytes) -> None:
        part = self._part
        part.write(chunk)
        if part.position > self._highest:
            self._patience.progress(part.position - self._highest)
            self._highest = part.position
        if part.position - self._looked_at >= _LOOK_AT_DISK:
            self._check_disk()
        self._on_bytes(self._wanted.path.name, part.position, part.total)

    def _judge_end(self, *, grew: bool) -> None:
        """The bytes have ended as the answer said, or none came that fit. Raises: WrongSum."""
        part, name = self._part, self._wanted.path.name
        if self._is_whole():
            return
        if not part.position:
            self._wait(Unanswered("the server sent nothing that fits"))
        elif grew and (self._has_ranges or part.total is None):
            pass  # the length may have been a lie: ask for what is behind
        elif self._in_pieces and not self._began_again:
            # Pieces of two versions make neither: the next try is of one.
            part.begin_again()
            self._began_again, self._highest = True, 0
            self._wait(Unanswered("the pieces do not make the file that was published; it is fetched again from 0"))
        else:
            found = part.sha256
            part.drop()
            raise WrongSum(
                f"{name} is not the file that was published: its sha256 should be {self._wanted.sha256}, and is "
                f"{found}. Nothing of it was kept"
            )

    def _wait(self, error: Unanswered) -> None:
        name = self._wanted.path.name
        log.warning("Trying again", file=name, at_byte=self._part.position, reason=str(error))
        if not self._patience.wait(error.wait):
            raise FetchFailed(
                f"{name}: {error}; given up, because it grew by less than 1 kB/s for {self._client.patience:,.0f} s. "
                f"{self._part.position:,} bytes are kept, and the next run goes on behind them"
            ) from error

    def _check_disk(self) -> None:
        part = self._part
        self._looked_at = part.position
        left = max(0, (part.total or 0) - part.position)
        free = shutil.disk_usage(self._wanted.path.parent).free
        if free < left + self._reserve:
            raise FetchFailed(
                f"{self._wanted.path.name} needs {left:,} bytes more, and {free:,} are free in "
                f"{self._wanted.path.parent}, of which EXTRACTOR_FETCH_RESERVE keeps {self._reserve:,}"
            )


def _is_page(answer: Answer) -> bool:
    """A 200 begins the file again: gigabytes must not go for "Back soon". No dump file is HTML."""
    return answer.headers.get("Content-Type", "").partition(";")[0].strip().lower() == "text/html"


def _validator(answer: Answer) -> str:
    """What names this version of the file: a weak one can't be asked for in a range (RFC 9110, 13.1.5)."""
    tag = answer.headers.get("ETag", "")
    return tag if tag.startswith('"') else answer.headers.get("Last-Modified", "")
