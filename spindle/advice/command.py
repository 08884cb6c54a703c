"""`spindle advise`: what limits the services now, and what to turn."""

import argparse
import asyncio
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from common.errors import StartRefused
from common.settings.environment import load as load_settings
from spindle.advice.evidence import Evidence
from spindle.advice.findings import Advice
from spindle.advice.limits import Finding
from spindle.advice.page import page_of
from spindle.advice.prometheus import Prometheus, is_match
from spindle.advice.publishing import read_published
from spindle.advice.report import COMPARED, Report, compared, judged, read_report, report_of
from spindle.advice.watching import watch
from spindle.advice.window import Window
from spindle.environments import add_stack_argument, environment_of
from spindle.output import readers_may_leave, wide_console
from spindle.progress import following
from spindle.settings import OperatorSettings

SECONDS = 30.0
"""Long enough for some dozens of batches of a slow store."""

_ABOUT = """\
Watch the services for a while, and say what limits each: the one thing, what shows it, what was looked at besides, and
one change. It reads what `spindle status` reads, and what transactions wait for in the stores; it changes nothing.
With --prometheus it looks at a window of the past instead, in which it can't see into the stores. What limited
publishing it can say from the extractor's own report (--extractor).

exit codes: 0 nothing limits them: they keep up, or have nothing to do; 1 something does; 2 it can't be judged
"""


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add this command to the operator's."""
    parser = commands.add_parser(
        "advise",
        help="what limits a running load, and what to turn",
        description=_ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--seconds",
        type=_seconds,
        default=SECONDS,
        metavar="N",
        help=f"how long to watch, or to look back (default {SECONDS:.0f})",
    )
    parser.add_argument("--prometheus", metavar="URL", help="take the metrics from it, not from the services")
    parser.add_argument(
        "--match",
        type=_match,
        metavar="LABELS",
        help="""of --prometheus: only series that have these, such as 'namespace="prod"'""",
    )
    parser.add_argument(
        "--from", dest="begin", type=_moment, metavar="TIME", help="of --prometheus: 2026-09-01T20:00, or 90m ago"
    )
    parser.add_argument("--to", dest="end", type=_moment, metavar="TIME", help="of --prometheus (default: now)")
    parser.add_argument(
        "--extractor", type=Path, metavar="FILE", help="also judge what the extractor reported (its --report or --json)"
    )
    parser.add_argument("--against", type=Path, metavar="FILE", help="compare with an earlier report (of --json)")
    parser.add_argument("--html", type=Path, metavar="FILE", help="also write one page with plots, for a browser")
    add_stack_argument(parser)
    parser.add_argument("--json", action="store_true", help="for a program")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Watch, judge and show; return the exit code."""
    earlier = read_report(arguments.against) if arguments.against else None
    published = read_published(arguments.extractor) if arguments.extractor else ()
    window = replace(_window(arguments), published=published)
    found = judged(window)
    report = dict(report_of(window, found))
    if earlier is not None:
        report["against"] = compared(report, earlier)
    if arguments.extractor and "publishing" not in report:
        print(f"{arguments.extractor}: nothing was published, or its process was killed: not judged.", file=sys.stderr)
    if arguments.html:
        write(arguments.html, page_of(report))
    with readers_may_leave():
        if arguments.json:
            print(json.dumps(report, indent=2))
        else:
            show(found, report, wide_console())
    if not all(advice.judged for advice in found):
        return 2
    return 1 if any(advice.findings for advice in found) else 0


def write(path: Path, text: str) -> None:
    """Write a file.

    Raises: StartRefused if it can't be written.
    """
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StartRefused(f"{path} can't be written: {error.strerror}.") from error


def _window(arguments: argparse.Namespace) -> Window:
    """Watch, or look back. Raises: StartRefused."""
    environ = environment_of(arguments)
    if arguments.prometheus is None:
        if arguments.begin or arguments.end or arguments.match:
            raise StartRefused(
                "--from, --to and --match are for --prometheus: without it, what is watched is now (--seconds)."
            )
        with following() as on_done:
            return asyncio.run(watch(environ, arguments.seconds, on_done))
    end = arguments.end or datetime.now(UTC)
    begin = arguments.begin or end - timedelta(seconds=arguments.seconds)
    if begin >= end:
        raise StartRefused(f"--from {begin:%Y-%m-%d %H:%M:%S} is not before --to {end:%Y-%m-%d %H:%M:%S} (UTC).")
    settings = load_settings(OperatorSettings, environ)
    return Prometheus.at(arguments.prometheus, arguments.match or "").look_back(settings, begin, end)


def show(found: Sequence[Advice], report: Report, console: Console) -> None:
    """For a person."""

    def say(text: str, style: str = "") -> None:
        console.print(text, style=style, markup=False, highlight=False)

    if "publishing" in report:
        _show_publishing(report["publishing"], say)
    if report["unseen"]:
        say(f"can't see {report['unseen']}", "yellow")
    for advice in found:
        say(f"{advice.service}, {report['seconds']:.0f} s: {advice.verdict}", "yellow" if advice.findings else "bold")
        for finding in advice.findings:
            if finding.sentence not in advice.verdict:
                say(f"  {finding.sentence}")
            say(f"    shown by    {_listed(finding.evidence)}")
            if finding.against:
                say(f"    looked at   {_listed(finding.against)}")
            say(f"    change      {finding.change}{_gain(finding)}")
            if finding.unseen:
                say(f"    can't see   {finding.unseen}")
        if advice.unseen:
            say(f"  can't see in the store: {advice.unseen}")
        if len(advice.phases) > 1:
            say("  when")
        for phase in advice.phases if len(advice.phases) > 1 else ():
            say(f"    {_clock(phase.begin)} to {_clock(phase.end)}  {phase.rate:>8,.0f} records/s  {phase.sentence}")
        if advice.not_the_limit:
            say(f"  not the limit: {_listed(advice.not_the_limit)}")
    for service, difference in report.get("against", {}).get("services", {}).items():
        say(f"{service} against {report['against']['began']}:", "bold")
        console.print(_table(difference))


def _show_publishing(publishing: Mapping[str, Any], say: Callable[..., None]) -> None:
    about = f"publishing {publishing['kind']}, {publishing['seconds']:.0f} s, {publishing['rate']:,.0f} messages/s"
    say(f"{about}: {publishing['sentence']}", "bold")
    for heading, text in (
        ("shown by", _listed([Evidence(**each) for each in publishing["evidence"]])),
        ("looked at", _listed([Evidence(**each) for each in publishing["against"]])),
        ("change", publishing["change"]),
        ("can't see", publishing["unseen"]),
    ):
        if text:
            say(f"    {heading:<12}{text}")


def _table(difference: Mapping[str, Any]) -> Table:
    table = Table("", box=None, pad_edge=False)
    for heading in ("before", "now", "ratio"):
        table.add_column(heading, justify="right")
    before, now = (limit or "not judged" for limit in difference["limit"])
    table.add_row("limit", before, now)
    for key, each in difference["numbers"].items():
        ratio = "" if each["ratio"] is None else f"{each['ratio']:.2f}"
        table.add_row(COMPARED[key], f"{each['before']:,.4g}", f"{each['now']:,.4g}", ratio)
    return table


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


def _listed(evidence: Sequence[Evidence]) -> str:
    return "; ".join(f"{each.meter} {each.value:.2f} (bound {each.bound:g})" for each in evidence)


def _gain(finding: Finding) -> str:
    return "" if finding.gain is None else f" (up to {finding.gain:,.0f} records/s more)"


def _seconds(text: str) -> float:
    with suppress(ValueError):
        if 1 <= float(text) <= 86_400:
            return float(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 1 to 86400")


def _match(text: str) -> str:
    if not is_match(text):
        raise argparse.ArgumentTypeError(f"""{text!r} is not label="value" or label=~"pattern", separated by commas""")
    return text


_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def _moment(text: str) -> datetime:
    """A time of its own, UTC if it does not say where; or so long ago."""
    number, unit = text[:-1], text[-1:]
    with suppress(ValueError, OverflowError):
        if unit in _UNITS and float(number) >= 0:
            return datetime.now(UTC) - timedelta(seconds=float(number) * _UNITS[unit])
    with suppress(ValueError):
        moment = datetime.fromisoformat(text)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    raise argparse.ArgumentTypeError(
        f"{text!r} is neither a time such as 2026-09-01T20:00 nor so long ago, such as 90m"
    )
