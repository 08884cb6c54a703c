"""A month is brought from a server that does everything wrong that a server can."""

import gzip
import hashlib
import os
import random
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from threading import Semaphore

import pytest
from pydantic import ByteSize

from common.errors import StartRefused
from extractor.fetching.command import fetch
from extractor.fetching.download import Wanted, download
from extractor.fetching.errors import FetchFailed
from extractor.fetching.folder import alone_in
from extractor.fetching.http import Client
from extractor.fetching.listing import names_of
from extractor.fetching.month import Ending, FetchReport, FileReport, sentences
from extractor.fetching.settings import FetchSettings
from tests.servers.dump_site import (
    ARTISTS,
    CHECKSUM,
    DATE,
    KINDS,
    MONTH,
    JumpingClock,
    Misdeed,
    Request,
    Site,
    breaks_after,
    honest,
    published,
    redirects,
    refuses_ranges,
    says,
    sends,
)

ARTISTS_BODY = random.Random(19).randbytes(300_000)
BODIES = {kind: ARTISTS_BODY if kind == "artists" else gzip.compress(kind.encode()) for kind in KINDS}


@pytest.fixture
def site() -> Iterator[Site]:
    with published(BODIES) as site:
        yield site


@pytest.fixture
def clock() -> JumpingClock:
    return JumpingClock()


def _fetch(site: Site, folder: Path, clock: JumpingClock, *, watch: bool = False, **more: object) -> FetchReport:
    settings = FetchSettings(url=site.url, timeout=5.0, reserve=0, **more)  # type: ignore[arg-type]
    return fetch(settings, folder=folder, month=MONTH, watch=watch, clock=clock)


def _artists(report: FetchReport) -> FileReport:
    return next(file for file in report.files if file.name == ARTISTS)


def _sends_another(request: Request, _: bytes) -> None:
    refuses_ranges(request, b"another")


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_month_is_five_files_of_the_published_bytes_and_is_not_fetched_twice(
    site: Site, tmp_path: Path, clock: JumpingClock
) -> None:
    first = _fetch(site, tmp_path, clock)
    site.asked.clear()
    second = _fetch(site, tmp_path, clock)

    assert first.exit_code == second.exit_code == 0
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == site.files
    assert [file.fetched for file in first.files] == [True] * 4
    assert [file.fetched for file in second.files] == [False] * 4
    assert site.asked == [(CHECKSUM, None)]


def test_a_connection_that_breaks_five_times_is_gone_on_with_behind_what_is_there(
    site: Site, tmp_path: Path, clock: JumpingClock
) -> None:
    site.misdeeds[ARTISTS] = [breaks_after(50_000)] * 5

    report = _fetch(site, tmp_path, clock)

    assert (tmp_path / ARTISTS).read_bytes() == ARTISTS_BODY
    assert site.ranges(ARTISTS) == [None, *(f"bytes={50_000 * times}-" for times in range(1, 6))]
    assert _artists(report).attempts == 6
    assert len(clock.waited) == 5


def test_the_next_run_goes_on_behind_what_one_that_gave_up_has_kept(
    site: Site, tmp_path: Path, clock: JumpingClock
) -> None:
    site.misdeeds[ARTISTS] = [breaks_after(120_000)]
    site.always[ARTISTS] = says(503)
    failed = _fetch(site, tmp_path, clock, patience=100.0)
    kept = _names(tmp_path)
    site.asked.clear()
    del site.always[ARTISTS]

    report = _fetch(site, tmp_path, clock)

    assert failed.exit_code == 1
    assert "120,000 bytes are kept" in _artists(failed).failure
    assert f"{ARTISTS}.part" in kept and ARTISTS not in kept
    assert site.ranges(ARTISTS) == ["bytes=120000-"]
    assert _artists(report).resumed == 120_000
    assert (tmp_path / ARTISTS).read_bytes() == ARTISTS_BODY
    assert not list(tmp_path.glob(".*"))


def test_what_was_kept_of_another_version_is_not_gone_on_with(site: Site, tmp_path: Path, clock: JumpingClock) -> None:
    (tmp_path / f"{ARTISTS}.part").write_bytes(bytes(200_000))
    (tmp_path / f".{ARTISTS}.part.json").write_text('{"validator": "\\"of another version\\"", "total": 200001}')

    report = _fetch(site, tmp_path, clock)

    assert (_artists(report).resumed, _artists(report).attempts) == (0, 1)
    assert (tmp_path / ARTISTS).read_bytes() == ARTISTS_BODY


def test_pieces_that_do_not_fit_together_are_fetched_again_from_the_start(
    site: Site, tmp_path: Path, clock: JumpingClock
) -> None:
    (tmp_path / f"{ARTISTS}.part").write_bytes(bytes(1000))  # and nothing says which version it is of

    report = _fetch(site, tmp_path, clock)

    assert site.ranges(ARTISTS) == ["bytes=1000-", "bytes=300000-", None]
    assert (tmp_path / ARTISTS).read_bytes() == ARTISTS_BODY
    assert _artists(report).ending is Ending.COMPLETE


def test_a_web_page_instead_of_the_file_costs_nothing_of_what_is_there(
    site: Site, tmp_path: Path, clock: JumpingClock
) -> None:
    def back_soon(request: Request, _: bytes) -> None:
        request.answer(200, b"<title>Back soon</title>", {"Content-Type": "Text/HTML; charset=utf-8"})

    site.misdeeds[ARTISTS] = [breaks_after(50_000), back_soon, back_soon]

    report = _fetch(site, tmp_path, clock)

    assert site.ranges(ARTISTS) == [None, *["bytes=50000-"] * 3]
    assert (_artists(report).attempts, len(clock.waited)) == (4, 3)
    assert (tmp_path / ARTISTS).read_bytes() == ARTISTS_BODY


def test_a_server_that_refuses_ranges_is_begun_again_with(site: Site, tmp_path: Path, clock: JumpingClock) -> None:
    site.misdeeds[ARTISTS] = [breaks_after(50_000), breaks_after(60_000)]
    site.always[ARTISTS] = refuses_ranges

    report = _fetch(site, tmp_path, clock)

    assert (tmp_path / ARTISTS).read_bytes() == ARTISTS_BODY
    assert _artists(report).attempts == 3


@pytest.mark.parametrize("said", ["bytes 0-299999/300000", "bytes 50000-299999/9", "pages 1-2", ""])
def test_a_range_that_was_not_asked_for_is_not_appended(
    site: Site, tmp_path: Path, clock: JumpingClock, said: str
) -> None:
    def other_range(request: Request, body: bytes) -> None:
        request.answer(206, body[1:], {"Content-Range": said})

    site.misdeeds[ARTISTS] = [breaks_after(50_000), other_range]

    _fetch(site, tmp_path, clock)

    assert site.ranges(ARTISTS) == [None, "bytes=50000-", None]
    assert (tmp_path / ARTISTS).read_bytes() == ARTISTS_BODY


def test_a_length_that_is_too_long_does_not_matter_once_the_sum_is_right(
    site: Site, tmp_path: Path, clock: JumpingClock
) -> None:
    def too_long(request: Request, body: bytes) -> None:
        request.answer(200, body, {"Content-Length": str(len(body) + 1000)})
        request.close_connection = True

    site.always[ARTISTS] = too_long

    report = _fetch(site, tmp_path, clock)

    assert (_artists(report).attempts, clock.waited) == (1, [])
    assert (tmp_path / ARTISTS).read_bytes() == ARTISTS_BODY


def test_what_is_behind_a_length_that_is_too_short_is_asked_for(
    site: Site, tmp_path: Path, clock: JumpingClock
) -> None:
    def too_short(request: Request, body: bytes) -> None:
        request.answer(200, body[:1000], {"Accept-Ranges": "bytes"})

    site.misdeeds[ARTISTS] = [too_short]

    _fetch(site, tmp_path, clock)

    assert site.ranges(ARTISTS) == [None, "bytes=1000-"]
    assert (tmp_path / ARTISTS).read_bytes() == ARTISTS_BODY


@pytest.mark.parametrize("answer", [sends(b"another file"), _sends_another])
def test_of_a_file_with_a_wrong_sum_nothing_is_kept_and_the_others_are_fetched(
    site: Site, tmp_path: Path, clock: JumpingClock, answer: partial[None]
) -> None:
    site.always[ARTISTS] = answer

    report = _fetch(site, tmp_path, clock)

    assert report.exit_code == 1
    assert "is not the file that was published: its sha256 should be" in _artists(report).failure
    assert "Nothing of it was kept" in _artists(report).failure
    assert _names(tmp_path) == site.files.keys() - {ARTISTS}


def test_what_has_the_name_and_another_sum_is_put_aside(site: Site, tmp_path: Path, clock: JumpingClock) -> None:
    (tmp_path / ARTISTS).write_bytes(b"mine")

    _fetch(site, tmp_path, clock)

    aside = tmp_path / f"{ARTISTS}.{hashlib.sha256(b'mine').hexdigest()[:8]}"
    assert aside.read_bytes() == b"mine"
    assert (tmp_path / ARTISTS).read_bytes() == ARTISTS_BODY


def test_retry_after_is_obeyed_in_seconds_and_as_a_date_and_up_to_a_quarter_of_an_hour(
    site: Site, tmp_path: Path, clock: JumpingClock
) -> None:
    site.misdeeds[ARTISTS] = [
        says(429, "120"),
        says(503, "Thu, 01 Jan 2026 06:10:00 GMT"),
        says(503, "86400"),
    ]

    report = _fetch(site, tmp_path, clock)

    first, second, third = clock.waited
    assert 120 <= first < 121  # and the own part of the wait: up to 1 s, 2 s, 4 s
    assert 0 <= second - (600 - first) < 2 + 1  # a date has whole seconds
    assert 900 <= third < 904
    assert _artists(report).attempts == 4


def test_a_server_that_only_says_503_is_given_up_after_our_patience(
    site: Site, tmp_path: Path, clock: JumpingClock
) -> None:
    site.always[ARTISTS] = says(503)

    report = _fetch(site, tmp_path, clock, patience=600.0)

    assert (
        "answers 503 Service Unavailable; given up, because it grew by less than 1 kB/s for 600 s"
        in _artists(report).failure
    )
    assert 480 < clock.passed <= 600
    assert max(clock.waited) <= 60


class _Drip:
    """A server that sends a byte every 29 s on the clock, once the one before has arrived."""

    def __init__(self, clock: JumpingClock, count: int) -> None:
        self._clock, self._count = clock, count
        self._arrived = Semaphore(0)

    def on_bytes(self, *_: object) -> None:
        self._clock.sleep(29.0)
        self._arrived.release()

    def __call__(self, request: Request, body: bytes) -> None:
        start = request.offset
        headers = {"Content-Length": str(len(body) - start)}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
        request.answer(206 if start else 200, b"", headers)
        for at in range(start, start + self._count):
            request.wfile.write(body[at : at + 1])
            self._arrived.acquire(timeout=5)
        request.wfile.write(body[start + self._count :])


@pytest.mark.parametrize("misdeeds", [[], [breaks_after(50_000)]])
def test_a_server_that_drips_is_given_up_after_our_patience(
    site: Site, tmp_path: Path, clock: JumpingClock, misdeeds: list[Misdeed]
) -> None:
    drip = _Drip(clock, 400)
    site.misdeeds[ARTISTS], site.always[ARTISTS] = misdeeds, drip
    sha256 = hashlib.sha256(ARTISTS_BODY).hexdigest()
    wanted = Wanted(f"{site.url}?download={ARTISTS}", tmp_path / ARTISTS, sha256)

    with (
        Client(clock, timeout=5.0, patience=600.0) as client,
        pytest.raises(FetchFailed, match=r"sends less than 1 kB/s; given up.* bytes are kept"),
    ):
        download(client, wanted, reserve=0, on_bytes=drip.on_bytes)

    assert 600 < clock.passed < 700


def test_a_page_is_given_up_after_our_patience_however_slowly_it_comes(
    site: Site, tmp_path: Path, clock: JumpingClock
) -> None:
    def slow(request: Request, body: bytes) -> None:
        clock.sleep(601.0)
        honest(request, body)

    site.always[CHECKSUM] = slow

    assert "sends too slowly; given up after 600 s" in _fetch(site, tmp_path, clock, patience=600.0).failure


@pytest.mark.parametrize("status", [404, 403, 410])
def test_what_is_refused_is_not_asked_for_again(site: Site, tmp_path: Path, clock: JumpingClock, status: int) -> None:
    site.always[ARTISTS] = says(status)

    report = _fetch(site, tmp_path, clock)

    assert f"answers {status}" in _artists(report).failure
    assert len(site.ranges(ARTISTS)) == 1
    assert clock.waited == []


def test_redirects_are_followed_to_http_and_to_nothing_else(site: Site, tmp_path: Path, clock: JumpingClock) -> None:
    site.misdeeds[ARTISTS] = [redirects(f"?download=data%2F{ARTISTS}&token=secret")]
    site.always[f"discogs_{DATE}_labels.xml.gz"] = redirects("file:///etc/passwd")
    site.always[f"discogs_{DATE}_masters.xml.gz"] = redirects(f"?download=data%2Fdiscogs_{DATE}_masters.xml.gz")

    report = _fetch(site, tmp_path, clock)

    artists, labels, masters, _ = report.files
    assert artists.ending is Ending.COMPLETE
    assert "leads to file:, and only http: and https: are followed" in labels.failure
    assert "more than 5 redirects" in masters.failure


def test_a_month_that_lacks_a_file_is_not_yet_there_and_nothing_is_fetched(
    site: Site, tmp_path: Path, clock: JumpingClock
) -> None:
    del site.files[CHECKSUM]

    report = _fetch(site, tmp_path, clock)

    assert (report.ending, report.exit_code) == (Ending.NOT_YET, 3)
    assert str(report.month) == f"4 of 5, without {CHECKSUM}"
    assert site.asked == []


def test_a_month_that_is_two_weeks_late_is_waited_for(site: Site, tmp_path: Path, clock: JumpingClock) -> None:
    files, site.files = site.files, {}
    two_weeks = 14 * 86_400

    def lay_out(passed: float) -> None:
        if passed > two_weeks - 3 * 86_400:  # a page of something else for a while, as during maintenance
            site.page = b"<html><title>Back soon</title>" if passed < two_weeks - 2 * 86_400 else None
        if passed > two_weeks - 86_400:
            site.files = {name: body for name, body in files.items() if name != CHECKSUM}
        if passed > two_weeks:
            site.files = files

    clock.on_wait = lay_out

    report = _fetch(site, tmp_path, clock, watch=True)

    assert report.exit_code == 0
    assert two_weeks < clock.passed < two_weeks + 4000
    assert 14 * 24 / 1.1 - 1 < site.looks < 14 * 24 + 2  # once an hour
    assert _names(tmp_path) == files.keys()


DAY = 86_400.0


def test_who_waits_for_a_month_leaves_the_folder_to_others(site: Site, tmp_path: Path, clock: JumpingClock) -> None:
    sums = site.files.pop(CHECKSUM)
    others = []

    def another_run(_: float) -> None:
        others.append(_fetch(site, tmp_path, JumpingClock()).exit_code)
        site.files[CHECKSUM] = sums

    clock.on_wait = another_run

    assert _fetch(site, tmp_path, clock, watch=True).exit_code == 0
    assert others == [3]


def test_who_watches_waits_for_a_run_that_is_in_the_folder(site: Site, tmp_path: Path, clock: JumpingClock) -> None:
    with ExitStack() as another_run:
        another_run.enter_context(alone_in(tmp_path))
        clock.on_wait = lambda _: another_run.close()

        report = _fetch(site, tmp_path, clock, watch=True)

    assert (report.exit_code, len(clock.waited)) == (0, 1)


@pytest.mark.parametrize(
    ("later", "days", "why"), [(None, 45, "45 days have passed"), ("20260201", 31, "2026-02 is complete")]
)
def test_a_month_that_does_not_come_is_not_waited_for_without_end(
    site: Site, tmp_path: Path, clock: JumpingClock, later: str | None, days: int, why: str
) -> None:
    del site.files[CHECKSUM]
    if later:
        site.files |= dict.fromkeys(names_of(later), b"")

    def not_without_end(passed: float) -> None:
        assert passed < 60 * DAY

    clock.on_wait = not_without_end

    report = _fetch(site, tmp_path, clock, watch=True, interval=DAY / 2)

    assert report.exit_code == 3
    assert days - 1 < clock.passed / DAY < days + 1
    assert f"{MONTH}: not yet: 4 of 5, without {CHECKSUM}; given up, because {why}" in next(sentences(report))


@pytest.mark.parametrize("page", [b"<html><title>Log in</title><a href='/login'>Log in</a>", b"", b"\x00\xff\xfe"])
def test_a_page_that_is_no_listing_is_refused(site: Site, tmp_path: Path, clock: JumpingClock, page: bytes) -> None:
    site.page = page

    with pytest.raises(StartRefused, match=r"does not list dumps.*EXTRACTOR_FETCH_URL") as refused:
        _fetch(site, tmp_path, clock, watch=True)

    assert ("'Log in'" in str(refused.value)) == (b"Log in" in page)


def test_what_the_publisher_has_not_finished_is_looked_at_again_by_who_watches(
    site: Site, tmp_path: Path, clock: JumpingClock
) -> None:
    labels = f"discogs_{DATE}_labels.xml.gz"
    site.misdeeds = {
        CHECKSUM: [says(404), sends(b"# nothing yet\n")],
        labels: [says(404)],
        ARTISTS: [_sends_another, _sends_another],
    }

    report = _fetch(site, tmp_path, clock, watch=True)

    assert report.exit_code == 0
    assert len(clock.waited) == 4  # twice for the checksums, then for both files, then for one
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == site.files


@pytest.mark.parametrize(
    ("name", "misdeed", "times"),
    [
        (ARTISTS, _sends_another, 3),
        (ARTISTS, says(404), 24),
        (CHECKSUM, sends(b"# nothing yet\n"), 24),
        (ARTISTS, says(403), 1),
    ],
)
def test_what_stays_unfinished_fails_the_month_of_who_watches(
    site: Site, tmp_path: Path, clock: JumpingClock, name: str, misdeed: Misdeed, times: int
) -> None:
    site.always[name] = misdeed

    report = _fetch(site, tmp_path, clock, watch=True)

    assert report.exit_code == 1
    assert len(site.ranges(name)) == times
    assert len(clock.waited) == times - 1


def test_checksums_that_lack_a_file_fail_the_month(site: Site, tmp_path: Path, clock: JumpingClock) -> None:
    site.files[CHECKSUM] = b"# nothing yet\n"

    report = _fetch(site, tmp_path, clock)

    assert report.exit_code == 1
    assert f"{CHECKSUM} says no sha256 of {ARTISTS}" in report.failure


def test_a_disk_that_is_too_small_is_said_before_anything_is_written(
    site: Site, tmp_path: Path, clock: JumpingClock
) -> None:
    free = os.statvfs(tmp_path)
    settings = FetchSettings(url=site.url, reserve=ByteSize(free.f_bavail * free.f_frsize + 2**30))

    report = fetch(settings, folder=tmp_path, month=MONTH, watch=False, clock=clock)

    assert "needs 300,000 bytes more" in _artists(report).failure
    assert (tmp_path / f"{ARTISTS}.part").stat().st_size == 0


def test_two_runs_do_not_write_into_one_folder(site: Site, tmp_path: Path, clock: JumpingClock) -> None:
    refusals = []

    def second(request: Request, body: bytes) -> None:
        with pytest.raises(StartRefused, match="another process is fetching") as refused:
            _fetch(site, tmp_path, JumpingClock())
        refusals.append(refused)
        honest(request, body)

    site.misdeeds[ARTISTS] = [second]

    assert _fetch(site, tmp_path, clock).exit_code == 0
    assert len(refusals) == 1
