"""`spindle check`: is this load in both stores, complete, and what is missing, different or left over?"""

import argparse
import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.markup import escape

from common.delivery import load_of
from common.errors import BrokerUnavailable, SinkError, StartRefused
from common.settings.environment import load as load_settings
from common.telemetry import logs
from extractor.loads import Load
from extractor.manifest.format import part_of, path_of
from extractor.settings import ExtractorSettings
from graphinator.ops import identities as graph_identities
from graphinator.settings import Neo4jSettings
from spindle.checking import report
from spindle.checking.check import Check, Identities, Pace
from spindle.checking.dead import SERVICES, dead_letters_of
from spindle.checking.diff import Result
from spindle.checking.id_set import IdSet
from spindle.checking.manifests import ManifestSource, loads_in, open_manifests
from spindle.checking.recording import record
from spindle.checking.repair import check_source, repair
from spindle.dead_letters.policies import limits_of_letters
from spindle.environments import add_stack_argument, environment_of
from spindle.output import readers_may_leave, wide_console
from spindle.progress import OnDone, following
from spindle.settings import OperatorSettings
from spindle.sources import add_source_arguments, open_source
from tableinator.ops import identities as table_identities
from tableinator.settings import PostgresSettings

STORES = tuple(SERVICES)
T = TypeVar("T")

_ABOUT = """\
Compare a load's manifest with each store, also beside running services: which ids are lost, different, dead (set aside
in the dead-letter queue), and which the stores hold that the load does not have (gone). No record is written; the ids
go to LOAD.KIND.STORE.diff beside the manifests, the counts to the ledgers. A check that was interrupted goes on where
it was when it is run again within an hour. CHECK_RATE limits the records a second that a store is asked for.

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
    settings = load_settings(OperatorSettings, environ)
    logs.configure("spindle check", level="warning", log_format=settings.log_format)
    folder, load = which(arguments.what, settings.state)
    if arguments.repair and arguments.synthetic is None and arguments.dumps is None:
        raise StartRefused("--repair publishes from the load itself: say where it is by --dumps FOLDER.")
    kinds, lacking = kinds_of(arguments.kinds, settings.kinds, folder, load)
    arguments.load, arguments.kinds = load, kinds
    stores = tuple(arguments.store or STORES)
    with open_manifests(folder, load, kinds) as sources, following() as on_done:
        source_load = open_source(arguments).load if arguments.repair else None
        if source_load is not None:
            for source in sources:
                check_source(source_load, source.header)
        checks = Checks(environ, folder, on_done, fresh=arguments.repair)
        results = told(lambda: asyncio.run(checks.run(sources, stores)), environ)
        remarks = [sentence for source in sources for sentence in source.remarks()]
        with readers_may_leave():
            if arguments.json:
                print(json.dumps(report.as_data(load, results, lacking, remarks), indent=2))
            else:
                show(load, results, lacking, remarks, wide_console())
        if source_load is not None:
            publish_again(results, sources, source_load, load_settings(ExtractorSettings, environ))
    return 0 if not lacking and all(result.counts.complete for result in results) else 1


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


def kinds_of(
    asked_for: Sequence[str] | None, configured: Sequence[str], folder: Path, load: str
) -> tuple[tuple[str, ...], list[str]]:
    """The kinds to look at, and those that should be looked at and have no manifest.

    Only what is asked for narrows: a kind that was never listed, or whose listing was interrupted, is no complete one.
    Raises: StartRefused if there is no manifest at all.
    """
    if asked_for is not None:
        return tuple(asked_for), []
    there = loads_in(folder).get(load, [])
    if not there:
        raise StartRefused(f"{folder} holds no manifest of {load}.")
    # One that is not finished is opened, to be refused with a sentence.
    kinds = [kind for kind in configured if kind in there or part_of(path_of(folder, load, kind)).exists()]
    return tuple(kinds), [kind for kind in configured if kind not in kinds]


def told(run_: Callable[[], T], environ: Mapping[str, str]) -> T:
    """Run, and say of a server that can't be read which one it is."""
    try:
        return run_()
    except SinkError as error:
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
    fresh: bool = False
    """Go on with no interrupted check: what is published follows from what is there now."""
    recorded: bool = True
    """Tell the stores' ledgers of it, which is also how they know of a load."""

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
            result = await Check(
                source,
                identities,
                lambda: self._dead(source, store),
                beginning=beginning,
                folder=self.folder,
                pace=Pace(settings.check_rate),
                fresh=self.fresh,
                on_done=lambda phase, done, total: self.on_done(f"{source.kind} {store}: {phase}", done, total),
            ).run()
        if self.recorded:
            await self._record(result, source)
        return result

    async def _record(self, result: Result, source: ManifestSource) -> None:
        """Tell the store's ledger, if this login may: a check is no less true without."""
        try:
            await record(result, source.header, self.environ)
        except SinkError as error:
            why = getattr(error, "alarm", None) or error
            print(f"{result.subject.store}: its ledger was not told of the check: {why}", file=sys.stderr)

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


def publish_again(
    results: Sequence[Result], sources: Sequence[ManifestSource], load: Load, settings: ExtractorSettings
) -> None:
    """Repair each store by itself, and say how much was published and what was not.

    Raises: PublishFailed, QueueGone, StartRefused, Truncated.
    """
    by_kind = {source.kind: source for source in sources}
    for result in results:
        if not result.counts.complete:
            subject = result.subject
            repaired = asyncio.run(repair(result, by_kind[subject.kind], load, settings))
            service = SERVICES[subject.store]
            print(f"{subject.kind}: {repaired.published:,} records published again to {service} alone", file=sys.stderr)
            if repaired.lacking:
                more = ", …" if repaired.lacking > len(repaired.absent) else ""
                print(
                    f"{subject.kind}: {repaired.lacking:,} records are not in the source as the manifest lists them, "
                    f"and were not published to {service}: {', '.join(repaired.absent)}{more}",
                    file=sys.stderr,
                )


def show(
    load: str, results: Sequence[Result], lacking: Sequence[str], remarks: Sequence[str], console: Console
) -> None:
    """Print everything that was found."""
    console.print(f"[bold]load {escape(load)}[/]", highlight=False)
    console.print(report.results_table(results))
    for line in (*remarks, *report.lines(results)):
        console.print(line, style="yellow", markup=False, highlight=False)
    for kind in lacking:
        console.print(f"{kind}: there is no manifest, so that nothing is known of it", style="red", highlight=False)
    complete = not lacking and all(result.counts.complete for result in results)
    console.print("[green]complete[/]" if complete else "[bold red]NOT complete[/]", highlight=False)
