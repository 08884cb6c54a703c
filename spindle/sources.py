"""Which load a command is about: made (`--synthetic`) or read (`--dumps`), the same way for every command."""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

from common.errors import StartRefused
from common.kinds import KINDS
from extractor.arguments import date_argument, month_argument
from extractor.loads import DumpLoad, Load, only, open_folder, remarks
from extractor.synthetic.synthetic import SyntheticLoad


@dataclass(frozen=True, slots=True)
class Source:
    """A load, what to call it, and how to ask the extractor for it; `folder` holds the dumps."""

    load: Load
    name: str
    arguments: tuple[str, ...]
    folder: Path | None = None


def add_source_arguments(
    parser: argparse.ArgumentParser, *, records: int | None, optional: bool = False, names_load: bool = True
) -> None:
    """Let a command take a load; `records` is how many to make if nothing is said; None: something must be, unless
    the load is `optional`. Without `names_load` the command has said which load before.
    """
    which = parser.add_mutually_exclusive_group(required=records is None and not optional)
    which.add_argument(
        "--synthetic", type=_positive, default=records, metavar="N", help="N made-up records, reproducible"
    )
    which.add_argument("--dumps", type=Path, metavar="FOLDER", help="the dump files in this folder")
    parser.add_argument("--seed", type=int, default=1, help="of the made-up records (default: 1)")
    parser.add_argument("--month", type=month_argument, default=0, help="the same made-up records so many months later")
    if names_load:
        parser.add_argument(
            "--load",
            type=date_argument,
            metavar="YYYYMMDD",
            help="of a folder with several dumps, this one; the version of made-up records",
        )
    add_kinds_argument(parser, default=KINDS if names_load else None)


def add_folder_or_source_arguments(parser: argparse.ArgumentParser) -> None:
    """Let a command take a load, most often a dump's folder without an option's name."""
    parser.add_argument("folder", nargs="?", type=Path, metavar="FOLDER", help="the dump files in this folder")
    add_source_arguments(parser, records=None, optional=True)


def open_folder_or_source(arguments: argparse.Namespace) -> Source:
    """The load that the arguments mean.

    Raises: StartRefused.
    """
    if sum(each is not None for each in (arguments.folder, arguments.dumps, arguments.synthetic)) != 1:
        raise StartRefused("exactly one of FOLDER, --dumps and --synthetic is needed.")
    arguments.dumps = arguments.dumps or arguments.folder
    return open_source(arguments)


def add_kinds_argument(parser: argparse.ArgumentParser, *, default: tuple[str, ...] | None = KINDS) -> None:
    """Let a command take a selection of kinds; `default`: what it is told if nothing is said."""
    parser.add_argument(
        "--kinds", type=_kinds, default=default, metavar="KIND,…", help=f"only these of {', '.join(KINDS)}"
    )


def open_source(arguments: argparse.Namespace) -> Source:
    """The load that the arguments mean.

    Raises: StartRefused.
    """
    if arguments.dumps is not None:
        if arguments.month:
            raise StartRefused("--month is for --synthetic: a dump is what it is.")
        return _dumps(arguments)
    return made_up(
        SyntheticLoad(arguments.synthetic, arguments.seed, arguments.month, arguments.load or "", kinds=arguments.kinds)
    )


def made_up(load: SyntheticLoad) -> Source:
    """A load that is made."""
    made = ("--synthetic", str(load.count), "--seed", str(load.seed), "--month", str(load.month), *_common(load))
    later = f", {load.month} month{'s' if load.month > 1 else ''} later" if load.month else ""
    return Source(load, f"{load.count:,} synthetic records, seed {load.seed}{later}", made)


def _dumps(arguments: argparse.Namespace) -> Source:
    load: DumpLoad = open_folder(arguments.dumps, date=arguments.load)
    if arguments.kinds != KINDS:
        load = only(load, arguments.kinds)
    for sentence in remarks(load, arguments.kinds):
        print(sentence, file=sys.stderr)
    return Source(load, f"the dump of {load.date} in {arguments.dumps}", _common(load), arguments.dumps)


def _common(load: Load) -> tuple[str, ...]:
    return ("--load", load.date, "--kinds", ",".join(load.kinds))


def _kinds(text: str) -> tuple[str, ...]:
    words = text.split(",")
    if not set(words) <= set(KINDS):
        raise argparse.ArgumentTypeError(f"{text!r} is not a selection of {','.join(KINDS)}")
    return tuple(kind for kind in KINDS if kind in words)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 up")
    return int(text)
