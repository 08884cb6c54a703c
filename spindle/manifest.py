"""`spindle manifest`: list a load's records without publishing them, for a producer that is not ours."""

import argparse
import json
import sys
from pathlib import Path

from rich.table import Table

from common.settings.environment import load as load_settings
from extractor.manifest.format import path_of
from extractor.progress import show_progress
from extractor.report import Report
from extractor.run import make_manifests
from extractor.settings import ExtractorSettings
from spindle.environments import add_stack_argument, environment_of
from spindle.output import readers_may_leave, wide_console
from spindle.sources import add_folder_or_source_arguments, open_folder_or_source

_ABOUT = """\
Read a load and write its manifests into SPINDLE_STATE: every id, with digests of its bytes. Nothing is published, no
server is asked. The extractor writes the same while it publishes: this is for loads that somebody else publishes.

exit codes: 0 made; 1 a kind can have no manifest; 2 a kind could not be read to its end, or nothing was read
"""


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add this command to the operator's."""
    parser = commands.add_parser(
        "manifest",
        help="list a load's records without publishing them",
        description=_ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_folder_or_source_arguments(parser)
    parser.add_argument(
        "--ids-only",
        action="store_true",
        help="for a foreign producer, which hashes JSON of its own: what is stored is compared by id alone. Nothing is "
        "parsed, which takes a quarter of the time",
    )
    add_stack_argument(parser)
    parser.add_argument("--json", action="store_true", help="for a program")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Make them, and show what there is; return the exit code."""
    load = open_folder_or_source(arguments).load
    settings = load_settings(ExtractorSettings, environment_of(arguments))
    with show_progress() as progress:
        report = make_manifests(load, settings, ids_only=arguments.ids_only, show=progress.show)
    assert settings.state is not None  # noqa: S101 (for mypy: without it nothing is made)
    with readers_may_leave():
        if arguments.json:
            print(json.dumps(as_data(report, settings.state), indent=2))
        else:
            wide_console().print(_table(report, settings.state))
    for kind in report.kinds:
        if problem := kind.failure or kind.no_manifest:
            print(f"{kind.kind}: {problem}", file=sys.stderr)
    if not report.complete:
        return 2
    return 1 if any(kind.no_manifest for kind in report.kinds) else 0


def as_data(report: Report, state: Path) -> dict[str, object]:
    """The manifests as data."""
    return {
        "load": report.load,
        "complete": report.complete,
        "kinds": {
            kind.kind: {
                "records": kind.published,
                "skipped": dict(kind.skipped),
                "manifest": _place(state, report.load, kind.kind),
                "problem": kind.failure or kind.no_manifest,
            }
            for kind in report.kinds
        },
    }


def _table(report: Report, state: Path) -> Table:
    table = Table("kind", box=None, pad_edge=False)
    for heading in ("records", "skipped", "records/s"):
        table.add_column(heading, justify="right")
    table.add_column("manifest", overflow="fold")
    for kind in report.kinds:
        skipped = sum(kind.skipped.values())
        place = "none" if kind.failure or kind.no_manifest else _place(state, report.load, kind.kind)
        table.add_row(kind.kind, f"{kind.published:,}", f"{skipped:,}", f"{kind.rate:,.0f}", place)
    return table


def _place(state: Path, load: str, kind: str) -> str:
    return str(path_of(state, load, kind))
