"""A publisher's site on a free port: the listing, five files, and whatever is to go wrong with them."""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import parse_qs, quote, urlsplit

DATE = "20260101"
MONTH = "2026-01"
KINDS = ("artists", "labels", "masters", "releases")
ARTISTS = f"discogs_{DATE}_artists.xml.gz"
CHECKSUM = f"discogs_{DATE}_CHECKSUM.txt"

Misdeed = Callable[["Request", bytes], None]
"""What is done with one request for a file of these bytes, instead of answering it."""


@dataclass
class Site:
    """What is published, and what goes wrong: each file's misdeeds happen once each, in their order."""

    files: dict[str, bytes]
    misdeeds: dict[str, list[Misdeed]] = field(default_factory=dict)
    always: dict[str, Misdeed] = field(default_factory=dict)
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    """Of each request for a file: which, and its `Range`."""
    page: bytes | None = None
    """Instead of a listing."""
    looks: int = 0
    url: str = ""

    def ranges(self, name: str) -> list[str | None]:
        """With which `Range` a file was asked for."""
        return [each for asked, each in self.asked if asked == name]

    def listing(self) -> bytes:
        links = "".join(
            f'<tr><td><a class=x href="?download={quote(f"data/2026/{name}", safe="")}">{name}</a><td>1&nbsp;GB'
            for name in self.files
        )
        return f"<!doctype html><title>Data</title><a href='?prefix=data%2F'>..</a><table>{links}".encode()


class Request(BaseHTTPRequestHandler):
    """One request, and the means to answer it wrongly."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # an answer in two writes would wait 40 ms for the first one's acknowledgement
    site: Site

    def do_GET(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        if "download" not in query:
            self.site.looks += 1
            self.answer(200, self.site.page if self.site.page is not None else self.site.listing())
            return
        name = query["download"][0].rpartition("/")[2]
        self.site.asked.append((name, self.headers["Range"]))
        if (body := self.site.files.get(name)) is None:
            self.answer(404, b"no such file")
        elif misdeeds := self.site.misdeeds.get(name):
            misdeeds.pop(0)(self, body)
        else:
            self.site.always.get(name, honest)(self, body)

    def answer(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        """Send it; `Content-Length` is true unless the headers have another."""
        self.send_response(status)
        for header, value in ({"Content-Length": str(len(body))} | dict(headers or {})).items():
            self.send_header(header, value)
        self.end_headers()
        self.wfile.write(body)

    @property
    def offset(self) -> int:
        """Where the bytes that are asked for begin."""
        found = re.fullmatch(r"bytes=(\d+)-", self.headers["Range"] or "")
        return int(found[1]) if found else 0

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def tag_of(body: bytes) -> str:
    return f'"{hashlib.sha256(body).hexdigest()[:8]}"'


def honest(request: Request, body: bytes, *, cut: int | None = None) -> None:
    """As a server should; `cut`: break the connection after so many bytes."""
    start = request.offset
    headers = {"ETag": tag_of(body), "Accept-Ranges": "bytes"}
    if start and request.headers["If-Range"] not in (None, tag_of(body)):
        start = 0
    if start >= len(body) > 0:
        request.answer(416, b"", headers | {"Content-Range": f"bytes */{len(body)}"})
        return
    sent = body[start:]
    if start:
        headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
    request.answer(206 if start else 200, sent[:cut], headers | {"Content-Length": str(len(sent))})
    if cut is not None:
        request.close_connection = True


def breaks_after(count: int) -> Misdeed:
    return lambda request, body: honest(request, body, cut=count)


def refuses_ranges(request: Request, body: bytes) -> None:
    request.answer(200, body)


def says(status: int, retry_after: str | None = None) -> Misdeed:
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    return lambda request, _: request.answer(status, b"not now", headers)


def sends(other: bytes) -> Misdeed:
    return lambda request, _: honest(request, other)


def redirects(target: str) -> Misdeed:
    return lambda request, _: request.answer(302, b"", {"Location": target})


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """A client that has seen enough goes, and that is nothing to say."""


@contextmanager
def published(bodies: Mapping[str, bytes]) -> Iterator[Site]:
    """A site with files of these kinds and true checksums."""
    files = {f"discogs_{DATE}_{kind}.xml.gz": body for kind, body in bodies.items()}
    sums = "".join(f"{hashlib.sha256(body).hexdigest()} {name}\n" for name, body in files.items())
    site = Site({CHECKSUM: sums.encode(), **files})
    server = _Server(("127.0.0.1", 0), type("OfThisSite", (Request,), {"site": site}))
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    site.url = f"http://127.0.0.1:{server.server_port}/"
    try:
        yield site
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class JumpingClock:
    """A clock on which waiting takes no time."""

    def __init__(self) -> None:
        self.begun = datetime(2026, 1, 1, 6, tzinfo=UTC)
        self.waited: list[float] = []
        self.on_wait: Callable[[float], None] = lambda _: None

    @property
    def passed(self) -> float:
        return sum(self.waited)

    def now(self) -> float:
        return self.passed

    def utc(self) -> datetime:
        return self.begun + timedelta(seconds=self.passed)

    def sleep(self, seconds: float) -> None:
        self.waited.append(seconds)
        self.on_wait(self.passed)
