"""`spindle advise`: what limits the services now, and what to turn."""

import argparse
import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from rich.console import Console

from common.settings.environment import load as load_settings
from spindle.advice.findings import Advice, Evidence, Finding, advise
from spindle.advice.meters import Look, meters_of
from spindle.environments import add_stack_argument, environment_of
from spindle.output import readers_may_leave, wide_console
from spindle.settings import OperatorSettings
from spindle.status.collect import Watcher

SECONDS = 30.0
"""Long enough for some dozens of batches of a slow store."""

INTERVAL = 2.0
"""Seconds between two looks."""

_ABOUT = """\
Watch the services for a while, and say what limits each: the one thing, what shows it, what was looked at besides, and
one change. It reads what `spindle status` reads, and changes nothing.

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
        "--seconds", type=_seconds, default=SECONDS, metavar="N", help=f"how long to watch (default {SECONDS:.0f})"
    )
    add_stack_argument(parser)
    parser.add_argument("--json", action="store_true", help="for a program")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Watch, judge and show; return the exit code."""
    settings = load_settings(OperatorSettings, environment_of(arguments))
    looks = asyncio.run(watch(settings, arguments.seconds))
    found = [advise(state.service, meters_of(looks, state.service)) for state in looks[-1].picture.services]
    with readers_may_leave():
        if arguments.json:
            print(json.dumps(as_data(found, seconds=looks[-1].at - looks[0].at), indent=2))
        else:
            show(found, wide_console(), seconds=looks[-1].at - looks[0].at)
    if not all(advice.judged for advice in found):
        return 2
    return 1 if any(advice.findings for advice in found) else 0


async def watch(settings: OperatorSettings, seconds: float) -> list[Look]:
    """Look again and again for so many seconds; at least twice."""
    watcher, begun = Watcher(settings), time.monotonic()
    looks: list[Look] = []
    while len(looks) < 2 or looks[-1].at - looks[0].at < seconds:
        if looks:
            await asyncio.sleep(max(0.0, min(INTERVAL, begun + seconds - time.monotonic())))
        looks.append(Look(time.monotonic(), await watcher.look()))
    return looks


def as_data(found: Sequence[Advice], *, seconds: float) -> dict[str, Any]:
    """For a program."""
    return {"seconds": round(seconds, 1), "services": {str(advice.service): _data(advice) for advice in found}}


def _data(advice: Advice) -> Mapping[str, Any]:
    data = asdict(advice)
    del data["service"]
    return data


def show(found: Sequence[Advice], console: Console, *, seconds: float) -> None:
    """For a person."""

    def say(text: str, style: str = "") -> None:
        console.print(text, style=style, markup=False, highlight=False)

    for advice in found:
        say(f"{advice.service}, {seconds:.0f} s: {advice.verdict}", "yellow" if advice.findings else "bold")
        for finding in advice.findings:
            if finding.sentence not in advice.verdict:
                say(f"  {finding.sentence}")
            say(f"    shown by    {_listed(finding.evidence)}")
            if finding.against:
                say(f"    looked at   {_listed(finding.against)}")
            say(f"    change      {finding.change}{_gain(finding)}")
            if finding.unseen:
                say(f"    can't see   {finding.unseen}")
        if advice.not_the_limit:
            say(f"  not the limit: {_listed(advice.not_the_limit)}")


def _listed(evidence: Sequence[Evidence]) -> str:
    return "; ".join(f"{each.meter} {each.value:.2f} (bound {each.bound:g})" for each in evidence)


def _gain(finding: Finding) -> str:
    return "" if finding.gain is None else f" (up to {finding.gain:,.0f} records/s more)"


def _seconds(text: str) -> float:
    with suppress(ValueError):
        if 1 <= float(text) <= 86_400:
            return float(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 1 to 86400")
