"""`spindle check`: is this load in both stores, complete, and what is missing, different or left over?"""

import argparse
import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from common.delivery import load_of
from common.errors import BrokerUnavailable, StartRefused, StoreUnavailable
from common.kinds import KINDS
from common.settings.environment import load as load_settings
from extractor.settings import ExtractorSettings
from graphinator.ops import identities as graph_identities
from graphinator.settings import Neo4jSettings
from spindle.checking import report
from spindle.checking.check import Check, Identities, OnDone, Pace
from spindle.checking.dead import SERVICES, dead_letters_of
from spindle.checking.diff import Result
from spindle.checking.id_set import IdSet
from spindle.checking.manifests import ManifestSource, loads_in, open_manifests
from spindle.checking.repair import repair
from spindle.dead_letters.policies import limits_of_letters
from spindle.environments import add_stack_argument, environment_of
from spindle.output import readers_may_leave, wide_console
from spindle.settings import OperatorSettings
from spindle.sources import add_source_arguments, open_source
from tableinator.ops import identities as table_identities
from tableinator.settings import PostgresSettings

STORES = tuple(SERVICES)
T = TypeVar("T")

_ABOUT = """\
Compare a load's manifest with each store, read-only, also beside running services: which ids are lost, different,
dead (set aside in the dead-letter queue), and which the stores hold that the load does not have (gone). The ids go to
LOAD.KIND.STORE.diff beside the manifests. A check that was interrupted goes on where it was when it is run again within
an hour. CHECK_RATE limits the records a second that a store is asked for.

exit codes: 0 complete; 1 not: ids are lost or different; 2 refused, or something can't be read
"""


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add this command to the operator's."""
    parser = commands.add_parser(
        "check",
        help="is a load in both stores, complete: what is lost, different, left over",
        description=_ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "what", metavar="LOAD|FOLDER", help="a load's date, whose manifests are in SPINDLE_STATE, or their folder"
    )
    add_source_arguments(parser, records=None, optional=True, names_load=False)
    parser.add_argument("--store", choices=STORES, action="append", help="only this store")
    parser.add_argument(
        "--repair",
        action="store_true",
        help="publish what is lost or different again, to that store's service alone, from --dumps or --synthetic",
    )
    add_stack_argument(parser)
    parser.add_argument("--json", action="store_true", help="for a program")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Check, and show; return the exit code."""
    environ = environment_of(arguments)
    folder, load = which(arguments.what, load_settings(OperatorSettings, environ).state)
    arguments.load = load
    if arguments.repair and arguments.synthetic is None and arguments.dumps is None:
        raise StartRefused("--repair publishes from the load itself: say where it is by --dumps FOLDER.")
    kinds = kinds_of(arguments.kinds, folder, load)
    stores = tuple(arguments.store or STORES)
    with open_manifests(folder, load, kinds) as sources, following() as on_done:
        checks = Checks(environ, folder, on_done)
        results = told(lambda: asyncio.run(checks.run(sources, stores)), environ)
    with readers_may_leave():
        if arguments.json:
            print(json.dumps(report.as_data(results), indent=2))
        else:
            show(results, wide_console())
    if arguments.repair:
        publish_again(results, arguments, environ)
    return 0 if all(result.counts.complete for result in results) else 1


def which(what: str, state: Path | None) -> tuple[Path, str]:
    """The folder and the load that an argument means.

    Raises: StartRefused.
    """
    if load_of(what):
        if state is None:
            raise StartRefused(f"SPINDLE_STATE is not set: it names the folder with the manifests of {what}.")
        return state, what
    folder = Path(what)
    loads = loads_in(folder)
    if not loads:
        raise StartRefused(f"{folder} holds no manifest (such as 20260301.artists.manifest).")
    return folder, list(loads)[-1]


def kinds_of(wanted: Sequence[str], folder: Path, load: str) -> tuple[str, ...]:
    """The kinds that are to be looked at: those asked for; if none in particular was, those that have a manifest."""
    there = loads_in(folder).get(load, [])
    if tuple(wanted) == KINDS and there:
        for kind in KINDS:
            if kind not in there:
                print(f"Passed over: {load} has no manifest of {kind}", file=sys.stderr)
        return tuple(there)
    return tuple(wanted)


def told(run_: Callable[[], T], environ: Mapping[str, str]) -> T:
    """Run, and say of a server that can't be read which one it is."""
    try:
        return run_()
    except StoreUnavailable as error:
        postgres, neo4j = load_settings(PostgresSettings, environ), load_settings(Neo4jSettings, environ)
        raise StartRefused(
            f"A store can't be read: {error}. PostgreSQL is {postgres.address}, Neo4j {neo4j.address}. What was seen "
            "is kept for an hour: run it again."
        ) from error
    except BrokerUnavailable as error:
        raise StartRefused(f"The dead letters can't be read: {error}. What was seen is kept: run it again.") from error


@dataclass(frozen=True, slots=True)
class Checks:
    """The checks of one command."""

    environ: Mapping[str, str]
    folder: Path
    on_done: OnDone

    async def run(self, sources: Sequence[ManifestSource], stores: Sequence[str]) -> list[Result]:
        """Check each kind in each store.

        Raises: StoreUnavailable, BrokerUnavailable, StartRefused.
        """
        return [await self.one(source, store) for source in sources for store in stores]

    async def one(self, source: ManifestSource, store: str) -> Result:
        """Check one kind in one store.

        Raises: as `run`.
        """
        settings = load_settings(OperatorSettings, self.environ)
        async with self._identities(store) as (identities, beginning):
            return await Check(
                source,
                identities,
                lambda: self._dead(source, store),
                beginning=beginning,
                folder=self.folder,
                pace=Pace(settings.check_rate),
                on_done=lambda phase, done, total: self.on_done(f"{source.kind} {store}: {phase}", done, total),
            ).run()

    @asynccontextmanager
    async def _identities(self, store: str) -> AsyncIterator[tuple[Identities, str]]:
        if store == "postgresql":
            async with table_identities.open_identities(load_settings(PostgresSettings, self.environ)) as rows:
                yield rows, table_identities.BEGINNING
        else:
            async with graph_identities.open_identities(load_settings(Neo4jSettings, self.environ)) as nodes:
                yield nodes, graph_identities.BEGINNING

    async def _dead(self, source: ManifestSource, store: str) -> IdSet:
        settings = load_settings(OperatorSettings, self.environ)
        found = await dead_letters_of(
            settings.broker,
            settings.names,
            store=store,
            kind=source.kind,
            load=source.load,
            limits=await limits_of_letters(self.environ),
        )
        return found.ids


def publish_again(results: Sequence[Result], arguments: argparse.Namespace, environ: Mapping[str, str]) -> None:
    """Repair each store by itself, and say how much was published.

    Raises: PublishFailed, QueueGone, StartRefused, Truncated.
    """
    settings = load_settings(ExtractorSettings, environ)
    load = open_source(arguments).load
    for result in results:
        if not result.counts.complete:
            published = asyncio.run(repair(result, load, settings))
            subject = result.subject
            service = SERVICES[subject.store]
            print(f"{subject.kind}: {published:,} records published again to {service} alone", file=sys.stderr)


def show(results: Sequence[Result], console: Console) -> None:
    """Print everything that was found."""
    if results:
        console.print(f"[bold]load {escape(results[0].subject.load)}[/]", highlight=False)
    console.print(report.results_table(results))
    for line in report.lines(results):
        console.print(line, style="yellow", markup=False, highlight=False)
    complete = all(result.counts.complete for result in results)
    console.print("[green]complete[/]" if complete else "[bold red]NOT complete[/]", highlight=False)


@contextmanager
def following() -> Iterator[OnDone]:
    """Give the function to tell; shows nothing where nobody looks."""
    console = Console(file=sys.stderr)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        tasks = {}

        def on_done(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = progress.add_task(what, total=total or None)
            progress.update(tasks[what], completed=done, total=total or None)

        yield on_done
