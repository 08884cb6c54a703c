"""Ask a server for one page or file: an answer, or why there is none and whether asking again may help.

The only module that knows urllib3, and which of its errors means what.
"""

import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Self

import urllib3

from common import VERSION
from common.errors import SpindleError
from extractor.fetching.address import allowed_target, shown
from extractor.fetching.clock import Clock
from extractor.fetching.errors import FetchFailed, NotFound
from extractor.fetching.waiting import Patience, retry_after

_REDIRECTS = 5
_CHUNK_BYTES = 1024 * 1024
_AGAIN = frozenset({408, 425, 429})
"""Beside all of 5xx: the statuses that say "not now"."""


class Unanswered(SpindleError):
    """There is no answer, or not all of it; asking again may help, after `wait` seconds if the server said so."""

    def __init__(self, text: str, wait: float | None = None) -> None:
        super().__init__(text)
        self.wait = wait


class Answer:
    """A status that says yes, headers, and bytes that can be read once."""

    def __init__(self, response: urllib3.BaseHTTPResponse, url: str) -> None:
        self._response = response
        self._url = url
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers

    @property
    def length(self) -> int | None:
        """Of the body, as the server says it."""
        said = self.headers.get("Content-Length", "")
        return int(said) if said.isascii() and said.isdecimal() and len(said) < 19 else None

    def chunks(self) -> Iterator[bytes]:
        """The body, as it arrives. Raises: Unanswered if it ends before its end."""
        with _translated(self._url):
            while chunk := self._response.read1(_CHUNK_BYTES, decode_content=False):
                yield chunk


class Client:
    """One server, one connection; a context manager."""

    def __init__(self, clock: Clock, *, timeout: float, patience: float) -> None:
        """`timeout`: seconds for a connection, and for the next bytes; `patience`: for a page, until it is given up."""
        self.clock, self.patience = clock, patience
        self._pool = urllib3.PoolManager(
            num_pools=2,
            timeout=urllib3.Timeout(connect=timeout, read=timeout),
            retries=False,
            headers={"User-Agent": f"spindle-extractor/{VERSION}", "Accept-Encoding": "identity"},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._pool.clear()

    @contextmanager
    def ask(self, url: str, headers: Mapping[str, str] | None = None, *, also: int = 200) -> Iterator[Answer]:
        """An answer of 200 or 206, or of the status that is `also` one.

        Raises: Unanswered; FetchFailed if asking again would not help, NotFound among them.
        """
        with _translated(url):
            response = self._follow(url, headers or {})
        try:
            if response.status not in (200, 206, also):
                self._refuse(response, url)
            yield Answer(response, url)
        finally:
            # What was not read to its end is not worth reading only to keep the connection.
            response.close()

    def text(self, url: str, most: int) -> str:
        """A page of at most so many bytes, asked for until patience ends.

        Raises: FetchFailed, NotFound.
        """
        patience = Patience(self.clock, self.patience)
        while True:
            try:
                return self._read(url, most, patience).decode(errors="replace")
            except Unanswered as error:
                if not patience.wait(error.wait):
                    raise FetchFailed(f"{error}; given up after {self.patience:,.0f} s") from error

    def _read(self, url: str, most: int, patience: Patience) -> bytes:
        found = bytearray()
        with self.ask(url) as answer:
            for chunk in answer.chunks():
                found += chunk
                if patience.is_over:
                    raise Unanswered(f"{shown(url)}: the server sends too slowly")
                if len(found) > most:
                    raise FetchFailed(f"{shown(url)} is larger than the {most:,} bytes that such a page may have")
        return bytes(found)

    def _follow(self, url: str, headers: Mapping[str, str]) -> urllib3.BaseHTTPResponse:
        for _ in range(_REDIRECTS + 1):
            response = self._pool.request(
                "GET", url, headers={**self._pool.headers, **headers}, preload_content=False, redirect=False
            )
            target = response.get_redirect_location()
            if not target:
                return response
            response.close()
            url = allowed_target(url, target)
        raise FetchFailed(f"{shown(url)} is behind more than {_REDIRECTS} redirects")

    def _refuse(self, response: urllib3.BaseHTTPResponse, url: str) -> None:
        said = f"{shown(url)} answers {response.status} {response.reason or ''}".rstrip()
        if response.status in _AGAIN or response.status >= 500:
            raise Unanswered(said, retry_after(response.headers.get("Retry-After"), self.clock.utc()))
        raise NotFound(said) if response.status in (404, 410) else FetchFailed(said)


@contextmanager
def _translated(url: str) -> Iterator[None]:
    try:
        yield
    except urllib3.exceptions.LocationValueError as error:
        raise FetchFailed(f"{shown(url)} is no address that can be asked") from error
    except urllib3.exceptions.HTTPError as error:
        if isinstance(error, urllib3.exceptions.SSLError) and _is_certificate(error):
            raise FetchFailed(f"{shown(url)}: its certificate is not to be trusted: {error}") from error
        raise Unanswered(f"{shown(url)}: {_words(error)}") from error
    except OSError as error:
        raise Unanswered(f"{shown(url)}: {error.strerror or error}") from error


def _is_certificate(error: BaseException) -> bool:
    return any(isinstance(each, ssl.SSLCertVerificationError) for each in (*error.args, error.__cause__))


def _words(error: urllib3.exceptions.HTTPError) -> str:
    if isinstance(error, urllib3.exceptions.TimeoutError):
        return "no answer in time"
    if isinstance(error, urllib3.exceptions.IncompleteRead):
        return "the connection ended before the file did"
    if isinstance(error, urllib3.exceptions.ProtocolError):
        return "the connection broke"
    return f"it can't be reached ({type(error).__name__})"
