"""The command line, and the load that it asks for."""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from common import VERSION
from common.errors import StartRefused
from common.kinds import KINDS
from extractor.dumps import is_date
from extractor.loads import DumpLoad, Load, SyntheticLoad, only, open_files, open_folder
from extractor.synthetic.synthetic import SHARES

# Doubled: argparse formats its help with %.
_PROPORTIONS = ", ".join(f"{share * 100:g} %% {kind}" for kind, share in SHARES.items())


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Read the command line; ends the program with exit code 2 if it can't be understood."""
    parser = whole_parser()
    arguments = parser.parse_args(argv)
    if sum((bool(arguments.files), arguments.dumps is not None, arguments.synthetic is not None)) != 1:
        parser.error("exactly one of FILE, --dumps and --synthetic is needed")
    if arguments.synthetic is None and arguments.month:
        parser.error("--month is for --synthetic")
    return arguments


def whole_parser() -> argparse.ArgumentParser:
    """What reads the command line."""
    parser = argparse.ArgumentParser(
        prog="extractor",
        description="Publish Discogs dumps, or synthetic records, to RabbitMQ. Settings come from the environment. "
        "`extractor fetch --help`: bring a month's dump into a folder first.",
        epilog="Exit codes: 0 done; 1 failed midway, or a file is truncated; 2 nothing was published.",
    )
    parser.add_argument("--version", action="version", version=f"extractor {VERSION}")
    source = parser.add_argument_group("what to publish (one of these)")
    source.add_argument("files", nargs="*", type=Path, metavar="FILE", help="dump files, named as Discogs names them")
    source.add_argument("--dumps", type=Path, metavar="DIR", help="the dump files of a folder")
    source.add_argument(
        "--synthetic",
        type=_positive,
        metavar="N",
        help=f"N made-up records, distributed as real ones are and in the proportions of a whole dump: {_PROPORTIONS}",
    )
    parser.add_argument("--seed", type=int, default=1, metavar="S", help="which synthetic records (default 1)")
    parser.add_argument(
        "--month", type=month_argument, default=0, metavar="K", help="the synthetic records as they are K months later"
    )
    parser.add_argument("--kinds", type=_kinds, metavar="KIND,…", help=f"only these of {', '.join(KINDS)}")
    parser.add_argument(
        "--load",
        type=date_argument,
        metavar="YYYYMMDD",
        help="of a folder with several dumps, this one; the version of a synthetic load",
    )
    parser.add_argument(
        "--wait", type=seconds_argument, default=60.0, metavar="SECONDS", help="for broker and queues (default 60)"
    )
    parser.add_argument(
        "--since",
        type=date_argument,
        metavar="YYYYMMDD",
        help="publish only what is new or changed since this load, whose manifest lies in SPINDLE_STATE",
    )
    parser.add_argument(
        "--from-start", action="store_true", help="publish all of it, also what an interrupted run has published"
    )
    parser.add_argument("--only-check", action="store_true", help="read everything, publish nothing; needs no broker")
    parser.add_argument("--json", action="store_true", help="write the report to standard output as JSON")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the report to a file as JSON")
    return parser


def open_load(arguments: argparse.Namespace, kinds: tuple[str, ...]) -> Load:
    """The load that was asked for; `kinds` are those of the settings, if the command line names none.

    Raises: StartRefused.
    """
    wanted: tuple[str, ...] = arguments.kinds or kinds
    if arguments.synthetic is not None:
        load = SyntheticLoad(arguments.synthetic, arguments.seed, arguments.month, arguments.load or "")
        return replace(load, kinds=wanted)
    dump = _open_dump(arguments)
    if arguments.kinds and (absent := [kind for kind in arguments.kinds if kind not in dump.kinds]):
        raise StartRefused(f"no file holds {' or '.join(absent)}: there is {', '.join(dump.kinds)}")
    return only(dump, wanted)


def date_argument(text: str) -> str:
    """Read a load's date. Raises: argparse.ArgumentTypeError."""
    if not is_date(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a date like 20260301")
    return text


def month_argument(text: str) -> int:
    """Read how many months later made-up records are to be. Raises: argparse.ArgumentTypeError."""
    return _whole(text, 0, 1200)


def seconds_argument(text: str) -> float:
    """Read a number of seconds, up to a day. Raises: argparse.ArgumentTypeError."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number <= 86_400:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 0 to 86400")
    return number


def _open_dump(arguments: argparse.Namespace) -> DumpLoad:
    if arguments.dumps is not None:
        return open_folder(arguments.dumps, date=arguments.load)
    dump = open_files(arguments.files)
    if arguments.load not in (None, dump.date):
        raise StartRefused(f"--load is {arguments.load}, and the files are of {dump.date}")
    return dump


def _kinds(text: str) -> tuple[str, ...]:
    words = [word.strip() for word in text.split(",") if word.strip()]
    if not words or any(word not in KINDS for word in words):
        raise argparse.ArgumentTypeError(f"{text!r} is not a selection of {', '.join(KINDS)}")
    return tuple(kind for kind in KINDS if kind in words)


def _positive(text: str) -> int:
    return _whole(text, 1, 1_000_000_000)


def _whole(text: str, at_least: int, at_most: int) -> int:
    try:
        number = int(text)
    except ValueError:
        number = -1
    if not at_least <= number <= at_most:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {at_least} to {at_most}")
    return number
