"""`spindle remove`: what a load no longer has goes from both stores, if every precondition is met."""

import argparse
import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from common.delivery import load_of
from common.errors import BrokerUnavailable, SinkError, SpindleError, StartRefused
from common.settings.environment import load as load_settings
from common.telemetry import logs
from spindle.checking.command import STORES, kinds_of
from spindle.checking.manifests import open_manifests
from spindle.environments import add_stack_argument, environment_of
from spindle.output import readers_may_leave, wide_console
from spindle.progress import following
from spindle.removal.preconditions import Facts, beyond, bound, refusals
from spindle.removal.work import Removal
from spindle.settings import OperatorSettings
from spindle.sources import add_kinds_argument

_ABOUT = """\
Remove what the checks of a load have found to be gone: stored, and not in the dump any more. Every precondition is
looked at first, and all that are not met are named; then nothing at all is removed. Removed records are kept for three
loads, and --undo brings them back. Running it again does what an interrupted run has not done.

It takes a login of its own (deploy/grants/removal.sql): REMOVAL_POSTGRES_USERNAME, REMOVAL_NEO4J_USERNAME and their
passwords; without them the ordinary ones, which may not delete where the grants are used.

exit codes: 0 removed, or nothing to remove; 1 failed on the way: run it again; 2 refused, nothing was removed
"""


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add this command to the operator's."""
    parser = commands.add_parser(
        "remove",
        help="remove from both stores what a load no longer has",
        description=_ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("load", metavar="LOAD", help="the newest load's date; its manifests are in SPINDLE_STATE")
    add_kinds_argument(parser, default=None)
    parser.add_argument("--store", choices=STORES, action="append", help="only this store")
    way = parser.add_mutually_exclusive_group()
    way.add_argument("--plan", action="store_true", help="only say what would be removed, and whether it may be")
    way.add_argument(
        "--exactly", type=int, metavar="N", help="remove so many in all, beyond the bound; no other number"
    )
    way.add_argument("--undo", action="store_true", help="bring back what was removed for this load")
    add_stack_argument(parser)
    parser.add_argument("--json", action="store_true", help="for a program")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Remove or bring back, and show; return the exit code."""
    environ = environment_of(arguments)
    settings = load_settings(OperatorSettings, environ)
    logs.configure("spindle remove", level="warning", log_format=settings.log_format)
    folder, load = settings.state, arguments.load
    if not load_of(load):
        raise StartRefused(f"{load!r} is not a load's date, such as 20260301.")
    if folder is None:
        raise StartRefused(f"SPINDLE_STATE is not set: it names the folder with the manifests of {load}.")
    removal = Removal(environ, folder, load, tuple(arguments.store or STORES))
    try:
        if arguments.undo:
            return _show_undone(asyncio.run(removal.undo(arguments.kinds or settings.kinds)), arguments)
        return _remove(removal, arguments, settings.kinds)
    except BrokerUnavailable as error:
        raise StartRefused(f"Queues and dead letters can't be read: {error}") from error
    except SinkError as error:
        raise SpindleError(f"{error}. What is not done, running it again does.") from error


def _remove(removal: Removal, arguments: argparse.Namespace, configured: Sequence[str]) -> int:
    kinds, lacking = kinds_of(arguments.kinds, configured, removal.folder, removal.load)
    if lacking:
        raise StartRefused(f"{', '.join(lacking)} of {removal.load} have no manifest; name the others by --kinds.")
    with open_manifests(removal.folder, removal.load, kinds) as sources:
        facts = asyncio.run(removal.facts(sources))
        problems = refused(facts, removal.load, arguments.exactly)
        removed: dict[tuple[str, str], int] = {}
        if not problems and not arguments.plan:
            with following() as on_done:
                removed = asyncio.run(removal.remove(facts, on_done))
    with readers_may_leave():
        if arguments.json:
            print(json.dumps(as_data(facts, removed, problems), indent=2))
        else:
            show(facts, removed, problems, wide_console(), plan=arguments.plan)
    return 2 if problems else 0


def refused(facts: Sequence[Facts], load: str, exactly: int | None) -> list[str]:
    """A sentence for everything that forbids the removal; none if it may be done. Pure."""
    problems = [sentence for fact in facts for sentence in refusals(fact)]
    total = sum(fact.gone for fact in facts)
    if exactly is not None:
        if exactly != total:
            problems.append(f"--exactly {exactly} is not what is gone: {total}, in all kinds and stores together.")
        return problems
    too_many = [sentence for fact in facts if (sentence := beyond(fact))]
    if too_many:
        override = f"If all of it is really to go: spindle remove {load} --exactly {total}"
        problems += [*too_many, override]
    return problems


def as_data(facts: Sequence[Facts], removed: Mapping[tuple[str, str], int], problems: Sequence[str]) -> dict[str, Any]:
    """For a program."""
    return {
        "load": facts[0].header.load if facts else None,
        "refused": list(problems),
        "parts": [
            {
                "kind": fact.kind,
                "store": fact.store,
                "records": fact.header.rows,
                "gone": fact.gone,
                "allowed": bound(fact),
                "removed": removed.get((fact.kind, fact.store), 0),
            }
            for fact in facts
        ],
    }


def show(
    facts: Sequence[Facts],
    removed: Mapping[tuple[str, str], int],
    problems: Sequence[str],
    console: Console,
    *,
    plan: bool,
) -> None:
    """Print what is gone, what was removed, and what forbids it."""
    table = Table("kind", "store", box=None, pad_edge=False)
    for heading in ("records", "gone", "allowed", "removed"):
        table.add_column(heading, justify="right")
    for fact in facts:
        done = removed.get((fact.kind, fact.store), 0)
        table.add_row(fact.kind, fact.store, *(f"{n:,}" for n in (fact.header.rows, fact.gone, bound(fact), done)))
    console.print(table)
    for sentence in problems:
        console.print(sentence, style="red", markup=False, highlight=False)
    if problems:
        console.print("[bold red]refused[/]: nothing was removed", highlight=False)
    elif plan:
        console.print("[green]allowed[/]: nothing was removed yet", highlight=False)
    else:
        console.print(f"[green]removed[/]: {sum(removed.values()):,}", highlight=False)


def _show_undone(restored: Mapping[tuple[str, str], int], arguments: argparse.Namespace) -> int:
    with readers_may_leave():
        if arguments.json:
            parts = [{"kind": kind, "store": store, "restored": n} for (kind, store), n in restored.items()]
            print(json.dumps({"load": arguments.load, "parts": parts}, indent=2))
        else:
            for (kind, store), count in restored.items():
                said = "published to tableinator" if store == "postgresql" else "written back"
                print(f"{kind} in {store}: {count:,} {said}")
    return 0
