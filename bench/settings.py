"""What a run of the bench is asked for: the command line, and the two sizes it comes in."""

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

GROUPS = ("tables", "graph", "source", "extractor", "latency", "whole")
RESULT = Path("build/bench.json")

_FULL = {"rounds": 5, "records": 40_000}
_QUICK = {"rounds": 2, "records": 10_000}
_GRAPH_SHARE = 2
"""The graph takes half of the tables' records: shorter runs would measure a JVM that still compiles."""


@dataclass(frozen=True, slots=True)
class Settings:
    """A run. `rounds` are those of the tables; the other groups, whose arms vary less, have fewer."""

    quick: bool
    rounds: int
    records: int
    seed: int
    groups: tuple[str, ...]
    json: Path
    docs: bool
    only_docs: bool

    @property
    def graph_records(self) -> int:
        """How many records the graph's arms carry."""
        return self.records // _GRAPH_SHARE

    def rounds_of(self, group: str) -> int:
        """How many rounds a group has."""
        return self.rounds if group == "tables" else 1 if group == "whole" else max(1, self.rounds * 3 // 5)


def parse(
    argv: Sequence[str], *, prog: str = "python -m bench", description: str = "Measure Spindle beside what it replaces."
) -> Settings:
    """Read the command line; ends the program with exit code 2 if it can't be understood."""
    parser = argparse.ArgumentParser(prog=prog, description=description)
    parser.add_argument("--quick", action="store_true", help="some minutes: few records, only what a figure is made of")
    parser.add_argument(
        "--rounds", type=_positive, metavar="N", help="of the tables (default 5, quick 2); others fewer"
    )
    parser.add_argument("--records", type=_thousands, metavar="N", help="releases a table arm carries (default 40000)")
    parser.add_argument("--only", choices=GROUPS, action="append", help="only this part; may be repeated")
    parser.add_argument("--seed", type=_integer, default=1, metavar="S", help="which records (default 1)")
    parser.add_argument(
        "--json", type=_result_file, default=str(RESULT), metavar="FILE", help=f"the result (default {RESULT})"
    )
    parser.add_argument(
        "--docs", action="store_true", help="rewrite table and charts of docs/performance.md afterwards"
    )
    parser.add_argument("--docs-of", type=Path, metavar="FILE", help="only rewrite them, from this result")
    arguments = parser.parse_args(argv)
    if arguments.docs and arguments.only:
        parser.error("--docs writes the whole page: it can't be had with --only")
    size = _QUICK if arguments.quick else _FULL
    return Settings(
        quick=arguments.quick,
        rounds=arguments.rounds or size["rounds"],
        records=arguments.records or size["records"],
        seed=arguments.seed,
        groups=tuple(group for group in GROUPS if group in (arguments.only or GROUPS)),
        json=arguments.docs_of or arguments.json,
        docs=arguments.docs,
        only_docs=arguments.docs_of is not None,
    )


def _positive(text: str) -> int:
    number = _integer(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return number


def _thousands(text: str) -> int:
    number = _integer(text)
    if number < 5000 or number % 20:
        raise argparse.ArgumentTypeError(f"{text} is not a multiple of 20 from 5000")
    return number


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None


def _result_file(text: str) -> Path:
    """Where the result may go, found out before the bench and not after it."""
    path = Path(text)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise argparse.ArgumentTypeError(f"no file can be written to {text}: {error.strerror}") from None
    if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        raise argparse.ArgumentTypeError(f"no file can be written to {text}")
    return path
