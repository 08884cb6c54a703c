"""Read the publisher's listing: which dump files of a month there are, and where each is.

The page of a year (`?prefix=data%2F2026%2F`) has a link `?download=data%2F2026%2Fdiscogs_20260101_artists.xml.gz` for
each file. Only these links matter: whatever else is on the page may change.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import parse_qs, urlsplit

from common.delivery import load_of
from common.kinds import KINDS
from extractor.fetching.address import allowed_target
from extractor.fetching.errors import NoListing

_NAME = re.compile(rf"discogs_(\d{{8}})_(?:(?:{'|'.join(KINDS)})\.xml\.gz|CHECKSUM\.txt)")


@dataclass(frozen=True, slots=True)
class Month:
    """One month's dump, as far as it is listed."""

    month: str
    """`2026-01`."""
    date: str = ""
    """The dump's date, `20260101`; empty if nothing is listed."""
    links: Mapping[str, str] = field(default_factory=dict)
    """URLs by file name."""

    @property
    def names(self) -> tuple[str, ...]:
        """The five files that a month has, the checksums first: the others are compared with them."""
        return names_of(self.date)

    @property
    def missing(self) -> tuple[str, ...]:
        """What is not listed yet."""
        return tuple(name for name in self.names if name not in self.links)

    @property
    def is_complete(self) -> bool:
        """Whether all five are listed."""
        return bool(self.date) and not self.missing

    def __str__(self) -> str:
        there = len(self.names) - len(self.missing) if self.date else 0
        lacking = f", without {', '.join(self.missing)}" if self.date and self.missing else ""
        return f"{there} of 5{lacking}"


def checksums_of(date: str) -> str:
    """The name of a dump's file of checksums."""
    return f"discogs_{date}_CHECKSUM.txt"


def names_of(date: str) -> tuple[str, ...]:
    """The names of a dump's files, the checksums first."""
    return (checksums_of(date), *(f"discogs_{date}_{kind}.xml.gz" for kind in KINDS))


def page_of(base: str, month: str) -> str:
    """The address of the page that lists a month."""
    return f"{base}?prefix=data%2F{month[:4]}%2F"


def month_of(page: str, url: str, month: str) -> Month:
    """What a page lists of a month: of several dates the newest that is complete, else the newest.

    Raises: NoListing if the page has no link of a listing; FetchFailed if a link of this month may not be followed.
    """
    links = dict[str, str]()
    is_listing = False
    for target in _links(page):
        query = parse_qs(urlsplit(target).query)
        is_listing = is_listing or "prefix" in query or "download" in query
        # A link that leads straight to the file serves as well.
        path = query.get("download", [urlsplit(target).path])[0]
        name = path.rpartition("/")[2]
        if (found := _NAME.fullmatch(name)) and load_of(found[1]) is not None:
            is_listing = True
            links.setdefault(name, target)
    if not is_listing:
        raise NoListing(f"the page does not list dumps: it has no link like ?prefix=… or ?download=…; {_title(page)}")
    wanted = month.replace("-", "")
    dates = sorted({name[8:16] for name in links if name[8:14] == wanted}, reverse=True)
    months = [
        Month(month, date, {name: allowed_target(url, links[name]) for name in names_of(date) if name in links})
        for date in dates
    ]
    return next((each for each in months if each.is_complete), months[0] if months else Month(month))


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if tag == "a" and name == "href" and value]


def _links(page: str) -> list[str]:
    parser = _Links()
    parser.feed(page)
    parser.close()
    links = []
    for link in parser.found:
        try:
            urlsplit(link)
        except ValueError:  # "http://[" is no address, and no reason to read nothing
            continue
        links.append(link)
    return links


def _title(page: str) -> str:
    """What the page says that it is, for the sentence."""
    found = re.search(r"<title[^>]*>([^<]{1,200})", page, re.IGNORECASE)
    return f"its title is {found[1].strip()!r}" if found else f"it has {len(page):,} characters and no title"
