"""`python -m devstack demo`: from nothing to two stores that are proved to hold what was published."""

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from common.errors import SpindleError
from common.kinds import Service
from common.settings.environment import load as load_settings
from devstack.demo.choosing import Wish, choose_stack
from devstack.demo.extracting import Extraction
from devstack.demo.next_month import NextMonth, load_difference, month_after
from devstack.demo.progress import Progress
from devstack.demo.result import DemoResult, KindResult, to_json
from devstack.demo.running import Scraper, carry, wait_for_rest
from devstack.demo.showing import print_places, print_result, shown_progress
from devstack.demo.stacks import Stack
from devstack.stack.files import default_home
from extractor.synthetic.synthetic import SyntheticLoad
from graphinator.settings import Neo4jSettings
from spindle.output import readers_may_leave, wide_console
from spindle.sources import Source, add_source_arguments, open_source
from spindle.stopping import stop_on_sigterm
from spindle.verification.findings import Verification
from spindle.verification.verifying import verify
from tableinator.settings import PostgresSettings

RECORDS = 20_000
REPORT = Path("build/demo.json")


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add this command."""
    summary = "bring the stack up, load records, and prove that both stores hold them"
    parser = commands.add_parser(
        "demo",
        help=summary,
        description=f"{summary}; exit code 0 only if it is proved, 2 if it can't begin",
        epilog="By make: make demo DUMPS=folder STACK=native DEMO_ARGS='--kinds artists,labels'; DEMO_ARGS takes any "
        "of these options.",
    )
    add_source_arguments(parser, records=RECORDS)
    parser.add_argument(
        "--stack",
        type=_wish,
        metavar="{" + ",".join(Wish) + "}",
        default=os.environ.get("STACK") or Wish.AUTO,
        help="containers, native processes, or containers where they can be had (default: $STACK, else auto)",
    )
    parser.add_argument("--one-month", action="store_true", help="leave out the made-up records' next month")
    parser.add_argument("--home", type=Path, help="the native stack's folder")
    parser.add_argument("--report", type=Path, default=REPORT, help=f"(default: {REPORT})")
    parser.add_argument("--json", action="store_true", help="print the report instead of tables")
    parser.set_defaults(run=run)


def refuse(arguments: Sequence[str]) -> None:
    """Remove the report of an earlier run where this one's arguments are wrong: it must not pass for this one's."""
    options = argparse.ArgumentParser(add_help=False, exit_on_error=False)
    options.add_argument("--report", type=Path, default=REPORT)
    report = REPORT
    with suppress(argparse.ArgumentError):
        report = options.parse_known_args(arguments)[0].report
    report.unlink(missing_ok=True)


def run(arguments: argparse.Namespace) -> int:
    """Run the demo; return the exit code."""
    arguments.report.unlink(missing_ok=True)
    source = open_source(arguments)
    arguments.report.parent.mkdir(parents=True, exist_ok=True)
    result = DemoResult(load=source.name, date=source.load.date, began=_now())
    begun = time.monotonic()
    stop_on_sigterm()
    try:
        stack = choose_stack(arguments.stack, home=_home(arguments), say=_say)
        result.stack = stack.name
        stack.up()
        _run(stack, source, result, arguments.report.parent)
        if result.verified and isinstance(source.load, SyntheticLoad) and not arguments.one_month:
            _add_next_month(stack, month_after(source.load), result, arguments.report.parent)
    except BaseException as error:
        result.failure = "interrupted" if isinstance(error, KeyboardInterrupt) else str(error) or type(error).__name__
        raise
    finally:
        result.seconds = time.monotonic() - begun
        arguments.report.write_text(json.dumps(to_json(result), indent=2) + "\n")
    with readers_may_leave():
        _print(result, stack, as_json=arguments.json)
    return 0 if result.verified else 1


def _run(stack: Stack, source: Source, result: DemoResult, folder: Path) -> None:
    console = Console(stderr=True)
    scraper = Scraper(stack)
    beginning = wait_for_rest(scraper, _say)
    _say(f"loading {source.name}")
    progress = Progress(beginning, source.load.kinds, time.monotonic())
    extraction = Extraction(stack, source, folder)
    try:
        with shown_progress(console) as display:
            carry(extraction, progress, scraper=scraper, display=display)
    finally:
        result.kinds = _results(progress, None)
    result.skipped = dict(extraction.skipped())
    result.verification = _verify(stack, source)
    result.kinds = _results(progress, result.verification)


def _add_next_month(stack: Stack, source: Source, result: DemoResult, folder: Path) -> None:
    _say(f"loading what differs in {source.name}")
    try:
        summary = load_difference(stack, source, folder)
        report = stack.found_at(summary["report"]) if summary["report"] else ""
        result.next_month = NextMonth(source.name, source.load.date, summary, _verify(stack, source), report)
    except SpindleError as error:  # what the first month has shown is told all the same
        result.next_month_failure = str(error)


def _verify(stack: Stack, source: Source) -> Verification:
    environ = stack.environment()
    postgres, neo4j = load_settings(PostgresSettings, environ), load_settings(Neo4jSettings, environ)
    _say("verifying")
    return asyncio.run(verify(source.load, name=source.name, postgres=postgres, neo4j=neo4j, say=lambda _: None))


def _results(progress: Progress, verification: Verification | None) -> list[KindResult]:
    parts = [progress.result(service, kind) for kind in progress.kinds for service in reversed(Service)]
    if verification is None:
        return parts
    return [
        replace(
            part,
            findings=verification.of(part.store, part.kind),
            recomputed=verification.published[part.kind],
        )
        for part in parts
    ]


def _print(result: DemoResult, stack: Stack, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(to_json(result), indent=2))
        return
    console = wide_console()
    print_result(result, console)
    print_places(stack.places(), console)


def _wish(text: str) -> Wish:
    if text not in set(Wish):
        raise argparse.ArgumentTypeError(f"{text!r} (from --stack or $STACK) is not one of {', '.join(Wish)}")
    return Wish(text)


def _home(arguments: argparse.Namespace) -> Path:
    return Path(os.path.abspath(arguments.home or default_home("default")))  # noqa: PTH100  (resolve() follows links)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
