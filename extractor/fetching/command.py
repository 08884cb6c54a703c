"""`extractor fetch`: bring one month's dump files into a folder."""

import argparse
import json
import re
from collections.abc import Sequence
from pathlib import Path

from common.errors import StartRefused
from extractor.fetching.clock import Clock, SystemClock
from extractor.fetching.errors import FetchFailed, NoListing
from extractor.fetching.http import Client
from extractor.fetching.month import Fetching, FetchReport, sentences, to_json
from extractor.fetching.progress import following
from extractor.fetching.settings import FetchSettings
from extractor.fetching.watch import Watch

_ABOUT = """\
Fetch a month's dump from the publisher's listing: four files and their checksums. A file that is there with the right
sha256 is not fetched again; one that broke off is gone on with, where the server can. Only what has the published sum
gets its name. Run again, it does what is left.

exit codes: 0 all of it is there; 1 something could not be fetched; 2 refused, or there is no listing;
3 not yet: the month is not published, or not all of it; with --watch: and is waited for no longer, because the
next month is complete or 45 days have passed since its first day
"""


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Read the command line behind `fetch`."""
    return whole_parser().parse_args(argv)


def whole_parser() -> argparse.ArgumentParser:
    """What reads it."""
    parser = argparse.ArgumentParser(
        prog="extractor fetch", description=_ABOUT, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--month", type=calendar_month, metavar="YYYY-MM", help="which (default: this one, in UTC)")
    parser.add_argument("--watch", action="store_true", help="wait until it is published, for 45 days at most")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="where to (default: EXTRACTOR_FETCH_FOLDER)")
    parser.add_argument("--json", action="store_true", help="write the report to standard output as JSON")
    return parser


def calendar_month(text: str) -> str:
    """Read a month. Raises: argparse.ArgumentTypeError."""
    if not re.fullmatch(r"[12][0-9]{3}-(0[1-9]|1[0-2])", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a month like 2026-01")
    return text


def fetch(
    settings: FetchSettings,
    *,
    folder: Path | None,
    month: str | None,
    watch: bool,
    clock: Clock | None = None,
) -> FetchReport:
    """Fetch a month, this one if none is named, into the folder of the settings if none is named.

    Raises: StartRefused if there is no folder or no listing.
    """
    if folder is None and not settings.folder:
        raise StartRefused("there is no folder to fetch into: name one, or set EXTRACTOR_FETCH_FOLDER.")
    clock = clock or SystemClock()
    try:
        with (
            Client(clock, timeout=settings.timeout, patience=settings.patience) as client,
            following() as on_bytes,
        ):
            fetching = Fetching(settings, folder or Path(settings.folder), client, on_bytes)
            month = month or f"{clock.utc():%Y-%m}"
            return Watch(fetching, month).run() if watch else fetching.run(month)
    except (NoListing, FetchFailed) as error:
        raise StartRefused(f"nothing was fetched: {error}. EXTRACTOR_FETCH_URL has to name the listing.") from error


def run(settings: FetchSettings, arguments: argparse.Namespace) -> int:
    """Do it, and say what was done. Returns: the exit code."""
    report = fetch(settings, folder=arguments.folder, month=arguments.month, watch=arguments.watch)
    if arguments.json:
        print(json.dumps(to_json(report), indent=2, ensure_ascii=False))
    else:
        for sentence in sentences(report):
            print(sentence)
    return report.exit_code
