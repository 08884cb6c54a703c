"""What a page of links says about a month."""

from datetime import UTC, datetime

import pytest

from common.errors import SettingsError
from common.settings.environment import load
from extractor.fetching.address import allowed_target
from extractor.fetching.errors import FetchFailed
from extractor.fetching.listing import month_of, names_of
from extractor.fetching.waiting import MOST, retry_after
from extractor.settings import ExtractorSettings

PAGE = "https://example.org/?prefix=data%2F2026%2F"


def _links(*names: str) -> str:
    return "<a href='?prefix=data%2F'>up</a>" + "".join(f"<A HREF=?download=data%2F2026%2F{name}>" for name in names)


def test_of_two_dates_of_a_month_the_newest_complete_one_counts() -> None:
    page = _links(*names_of("20260101"), *names_of("20260102")[:4], *names_of("20260201"))

    month = month_of(page, PAGE, "2026-01")

    assert (month.date, month.is_complete) == ("20260101", True)
    assert month.links["discogs_20260101_masters.xml.gz"] == (
        "https://example.org/?download=data%2F2026%2Fdiscogs_20260101_masters.xml.gz"
    )


def test_links_that_lead_straight_to_files_serve_as_well() -> None:
    page = "".join(f'<a href="/data/2026/{name}">' for name in names_of("20260101"))

    month = month_of(page, PAGE, "2026-01")

    assert month.is_complete
    assert month.links["discogs_20260101_CHECKSUM.txt"] == "https://example.org/data/2026/discogs_20260101_CHECKSUM.txt"


@pytest.mark.parametrize("base", ["http://example.org", "ftp://example.org"])
def test_links_of_a_secure_listing_lead_to_https_alone(base: str) -> None:
    def page(date: str) -> str:
        return "".join(f'<a href="{base}/data/2026/{name}">' for name in names_of(date))

    with pytest.raises(FetchFailed, match=r"https://example\.org/\?prefix=data%2F2026%2F leads"):
        month_of(page("20260101"), PAGE, "2026-01")

    assert month_of(page("20260101") + _links(*names_of("20260201")), PAGE, "2026-02").is_complete


def test_names_that_are_none_of_a_dump_are_passed_over() -> None:
    page = _links("discogs_20260199_artists.xml.gz", "discogs_20260101_artists.xml", "x.gz") + '<a href="http://[">'

    assert str(month_of(page, PAGE, "2026-01")) == "0 of 5"


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7),
        ("0", 0),
        ("99999999999999999999", MOST),
        ("Thu, 01 Jan 2026 00:01:00 GMT", 60),
        ("Wed, 31 Dec 2025 00:00:00 GMT", 0),
        ("Fri, 01 Jan 2027 00:00:00 -0000", MOST),
        ("soon", None),
        ("-5", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str | None, seconds: float | None) -> None:
    assert retry_after(header, datetime(2026, 1, 1, tzinfo=UTC)) == seconds


@pytest.mark.parametrize("target", ["http://example.org/", "ftp://example.org/", "data:,x", "http://["])
def test_a_redirect_from_https_leads_to_https_alone(target: str) -> None:
    with pytest.raises(FetchFailed, match=r"https://example\.org/ leads"):
        allowed_target("https://example.org/", target)


@pytest.mark.parametrize(
    "url", ["ftp://example.org/", "example.org", "https://me:secret@example.org/", "https://x/?a=1"]
)
def test_an_address_that_is_no_page_is_refused_and_shows_no_password(url: str) -> None:
    with pytest.raises(SettingsError, match=r"EXTRACTOR_FETCH_URL is .*; allowed is http://… or https://…") as refused:
        load(ExtractorSettings, {"EXTRACTOR_FETCH_URL": url})

    assert "secret" not in str(refused.value)
