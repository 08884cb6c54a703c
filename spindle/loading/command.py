"""`spindle load FOLDER`: bring a dump into both stores, and say truthfully what is there afterwards."""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog
from rich.console import Console
from rich.table import Table

from common.errors import BrokerUnavailable, StartRefused
from common.rabbitmq.publishing.publisher import PublishFailed
from common.settings.environment import load as load_settings
from common.telemetry import logs
from common.telemetry.logs import redact
from extractor.arguments import seconds_argument
from extractor.control import extraction_complete, file_complete, timestamp
from extractor.fetching.command import calendar_month, fetch
from extractor.fetching.month import FetchReport, sentences
from extractor.fetching.month import to_json as fetched_as_data
from extractor.loads import DumpLoad, Load, only
from extractor.manifest.format import ManifestRefused, path_of
from extractor.manifest.reader import Manifest
from extractor.progress import show_progress
from extractor.publishing import publisher_of
from extractor.queues import wait_for_queues
from extractor.report import Ending, KindReport
from extractor.run import make_manifests
from extractor.settings import ExtractorSettings
from extractor.worker import Update
from extractor.workers import Crew
from spindle.advice.keeping import keep
from spindle.advice.watching import Recorder
from spindle.checking.command import STORES, Checks, told
from spindle.checking.dead import SERVICES
from spindle.checking.diff import Result
from spindle.checking.manifests import ManifestSource, open_manifests
from spindle.checking.repair import check_source
from spindle.checking.report import lines
from spindle.environments import add_stack_argument, environment_of
from spindle.ledger.errors import errors_as_data, errors_table, troubles
from spindle.ledger.stores import Book, ledgers_of
from spindle.loading.plan import Part, as_data, objections, plan_of, plan_table
from spindle.loading.publishing import STALLED, Missing, until_drained, until_settled
from spindle.output import readers_may_leave, wide_console
from spindle.progress import OnDone, following
from spindle.removal.command import refused
from spindle.removal.work import Removal
from spindle.settings import OperatorSettings
from spindle.sources import add_folder_or_source_arguments, open_folder_or_source

log = structlog.get_logger()

REPAIRS = 3
"""Rounds after the first: what is not there then needs somebody to look."""

WAVES = (("artists", "labels", "masters"), ("releases",))
"""Releases name all the others, and nothing names a release."""

_SETTLING = 3.0
"""Seconds between two checks, while services still hold deliveries that no queue shows."""

_ABOUT = """\
Bring a dump, or made-up records (--synthetic), into both stores. The plan is exact: the dump's manifest is compared
with each store, and only what a store lacks is published, to its service alone. Then it waits, checks, and repairs up
to three times. Run again, it does what is left: that is the retry, also after Ctrl-C or a crash. The services must run.
With --fetch the month's dump is first brought from the publisher into FOLDER (see `extractor fetch --help`).

exit codes: 0 both stores hold the dump; 1 not all of it: the ids are named, or what failed; 2 refused, or something
could not be read to the end; 3 of --fetch: the month is not published yet
"""


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add this command to the operator's."""
    parser = commands.add_parser(
        "load",
        help="bring a dump into both stores: plan, publish what differs, wait, check, repair",
        description=_ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_folder_or_source_arguments(parser)
    parser.add_argument(
        "--fetch",
        nargs="?",
        const="",
        type=_month,
        metavar="YYYY-MM",
        help="fetch this month's dump first (default: the current one), into FOLDER or EXTRACTOR_FETCH_FOLDER",
    )
    parser.add_argument("--watch", action="store_true", help="with --fetch: wait until the month is published")
    parser.add_argument("--plan", action="store_true", help="stop after the plan")
    parser.add_argument("--remove", action="store_true", help="remove what is gone, if `spindle remove` would")
    parser.add_argument(
        "--waves", action="store_true", help="releases only once everything that they name is complete in both stores"
    )
    parser.add_argument("--full", action="store_true", help="also if more than 30%% of what is stored changes")
    parser.add_argument(
        "--wait", type=seconds_argument, default=60.0, metavar="SECONDS", help="for broker and queues (default 60)"
    )
    parser.add_argument(
        "--stalled",
        type=seconds_argument,
        default=STALLED,
        metavar="SECONDS",
        help=f"after which it stops if nothing leaves the services' queues (default {STALLED:.0f})",
    )
    add_stack_argument(parser)
    parser.add_argument("--json", action="store_true", help="for a program")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Do all of it, and show; return the exit code."""
    if arguments.plan and arguments.remove:
        raise StartRefused("--plan removes nothing: leave out --remove, or ask `spindle remove LOAD --plan`.")
    if arguments.watch and arguments.fetch is None:
        raise StartRefused("--watch is for --fetch: there is nothing to wait for in a folder.")
    environ = environment_of(arguments)
    settings = load_settings(ExtractorSettings, environ)
    if settings.state is None:
        raise StartRefused("SPINDLE_STATE is not set: it names the folder for manifests and the results of checks.")
    logs.configure("spindle load", level=settings.log_level, log_format=settings.log_format)
    began = time.monotonic()
    fetched = None if arguments.fetch is None else _fetch(arguments, settings)
    if fetched is not None and fetched.exit_code:
        if arguments.json:
            print(json.dumps({"fetch": fetched_as_data(fetched)}, indent=2))
        return fetched.exit_code
    load = open_folder_or_source(arguments).load
    list_load(load, settings)
    with open_manifests(settings.state, load.date, load.kinds) as sources, following() as on_done:
        loading = Loading(environ, settings, load, sources, on_done, stalled=arguments.stalled)
        parts = told(lambda: asyncio.run(loading.plan(is_all=arguments.plan)), environ)
        problems = [] if arguments.full else list(objections(parts))
        if not arguments.plan and not problems:
            try:
                with recorded(loading):
                    _publish(loading, arguments)
            except KeyboardInterrupt:
                print("Interrupted. What was published is safe; run again, it does what is left.", file=sys.stderr)
                raise
    loading.seconds = time.monotonic() - began
    with readers_may_leave():
        if arguments.json:
            of_fetch = {} if fetched is None else {"fetch": fetched_as_data(fetched)}
            print(json.dumps(summary(loading, parts, problems) | of_fetch, indent=2))
        else:
            show(loading, parts, problems, wide_console(), plan=arguments.plan)
    if problems:
        return 2
    return 0 if arguments.plan or (loading.is_complete and not loading.refusals) else 1


def _fetch(arguments: argparse.Namespace, settings: ExtractorSettings) -> FetchReport:
    """Bring the month into the folder, say so, and have the arguments mean it. Raises: StartRefused."""
    if arguments.synthetic is not None or arguments.load:
        raise StartRefused("--fetch says itself which load it is: leave out --synthetic and --load.")
    if arguments.folder and arguments.dumps:
        raise StartRefused("FOLDER and --dumps are both set: one is enough.")
    folder = arguments.folder or arguments.dumps
    report = fetch(settings.fetch, folder=folder, month=arguments.fetch or None, watch=arguments.watch)
    for sentence in sentences(report):
        print(sentence, file=sys.stderr)
    arguments.folder, arguments.dumps, arguments.load = report.folder, None, report.month.date
    return report


def _month(text: str) -> str:
    return calendar_month(text) if text else ""


def list_load(load: Load, settings: ExtractorSettings) -> None:
    """Make the manifests that are not there yet, or not of these files.

    Raises: StartRefused.
    """
    assert settings.state is not None  # noqa: S101 (for mypy: looked at before)
    lacking = [kind for kind in load.kinds if not _is_listed(load, kind, settings.state)]
    if not lacking:
        return
    print(f"Reading {', '.join(lacking)} of {load.date}", file=sys.stderr)
    with show_progress() as progress:
        report = make_manifests(only(load, tuple(lacking)), settings, ids_only=False, show=progress.show)
    failures = [f"{kind.kind}: {kind.failure}" for kind in report.kinds if kind.failure]
    if failures:
        raise StartRefused("Nothing was published, because not all of it could be listed: " + "; ".join(failures))
    for each in report.kinds:
        parsed = each.published - each.known - each.resumed
        print(f"{each.kind}: {each.published:,} records, of which {parsed:,} had to be parsed", file=sys.stderr)


def _is_listed(load: Load, kind: str, state: Path) -> bool:
    """Whether there is a manifest of just this."""
    of = load.file(kind).path if isinstance(load, DumpLoad) else None
    try:
        with Manifest.open(path_of(state, load.date, kind), load=load.date, kind=kind, of=of) as manifest:
            return manifest.header.file == load.file_name(kind) and not manifest.header.ids_only
    except ManifestRefused:
        return False


@dataclass(slots=True)
class Loading:
    """A load under way."""

    environ: Mapping[str, str]
    settings: ExtractorSettings
    load: Load
    sources: Sequence[ManifestSource]
    on_done: OnDone
    stalled: float = STALLED
    """Seconds in which nothing leaves the queues, after which no further round would help."""
    results: dict[tuple[str, str], Result] = field(default_factory=dict)
    written: dict[tuple[str, str], int] = field(default_factory=dict)
    removed: dict[tuple[str, str], int] = field(default_factory=dict)
    refusals: list[str] = field(default_factory=list)
    """Why nothing was removed, if it was asked for."""
    published: list[KindReport] = field(default_factory=list)
    """What each kind's process said of itself at its end, in every round."""
    stuck: Mapping[str, int] = field(default_factory=dict)
    """Queues that nobody empties, and what waits in them: no further round would help."""
    held: Mapping[str, int] = field(default_factory=dict)
    """Queues whose services have taken messages and settle none: what is with them need not be published again."""
    books: Sequence[Book] = ()
    """What the ledgers say at the end, if anything was published: what errors the load met."""
    report: Path | None = None
    """The page that says how it went, once there is one."""
    has_begun: bool = False
    """Whether anything was to be published: then there is to be a report, however it ends."""
    rounds: int = 0
    seconds: float = 0.0

    @property
    def is_complete(self) -> bool:
        """Whether both stores hold the dump."""
        return all(result.counts.complete for result in self.results.values())

    async def plan(self, *, is_all: bool) -> list[Part]:
        """Compare the dump with the stores; if the plan `is_all` that is wanted, the ledgers are not told.

        Raises: as a check.
        """
        await self._check(self.sources, recorded=not is_all)
        return plan_of(list(self.results.values()))

    async def publish(self, patience: float, *, waves: Sequence[Sequence[str]]) -> None:
        """Publish what differs, wait and check, up to three times again; a wave of kinds once the one before is clean.

        Raises: as a check; PublishFailed; StartRefused if a service is paused, or the dump is another one by now.
        """
        await self._refuse_paused()
        await wait_for_queues(self.settings, self.load.kinds, patience=patience)
        if self.is_complete:
            return
        began = timestamp()
        by_wave = [[source for source in self.sources if source.kind in wave] for wave in waves]
        by_wave = [sources for sources in by_wave if sources]
        for sources in by_wave:
            await self._bring(sources, began, is_last=sources is by_wave[-1])
            if not all(self._is_clean(source.kind) for source in sources):
                break
        self.books = await ledgers_of(self.environ).read()

    async def _bring(self, sources: Sequence[ManifestSource], began: str, *, is_last: bool) -> None:
        """Publish, wait and check until these kinds are clean, or until no further round would help."""
        rounds = 0
        while rounds <= REPAIRS and not self.stuck and not self.held:
            unclean = [source for source in sources if not self._is_clean(source.kind)]
            await self._publish(unclean)
            if not rounds:
                await self._announce(sources, began, is_whole=is_last)
            if not unclean:
                return
            rounds += 1
            self.rounds = max(self.rounds, rounds)
            await self._settle(unclean)

    async def remove(self) -> None:
        """Remove what is gone, if every precondition is met; `refusals` says why not.

        Raises: as a removal.
        """
        assert self.settings.state is not None  # noqa: S101
        removal = Removal(self.environ, self.settings.state, self.load.date, STORES)
        facts = await removal.facts(self.sources)
        self.refusals = refused(facts, self.load.date, None)
        if not self.refusals:
            self.removed = await removal.remove(facts, self.on_done)

    async def _publish(self, sources: Sequence[ManifestSource]) -> None:
        """Publish what each kind lacks, all kinds side by side. Raises: PublishFailed, once all have ended."""
        jobs = []
        for source in sources:
            check_source(self.load, source.header)
            of_kind = tuple(result for (kind, _), result in self.results.items() if kind == source.kind)
            jobs.append(Missing(source.kind, self.load, self.settings, of_kind))
        failures = []
        self.has_begun = self.has_begun or bool(jobs)
        crew = Crew(jobs)
        try:
            with crew:
                for said in crew.listen():
                    if isinstance(said, Update):
                        self.on_done(f"{said.kind}: {said.state}", said.done, said.total)
                    elif said is not None:
                        failures += self._note(said)
                    await asyncio.sleep(0)  # where Ctrl-C arrives: nothing else goes on in this process meanwhile
        finally:
            self.published += crew.unheard
        if failures:
            raise PublishFailed("Not all of it was published: " + "; ".join(failures) + ". Run it again.")

    def _note(self, report: KindReport) -> list[str]:
        """Count what a kind was sent. Returns: why not all of it, at most one sentence, which is logged at once."""
        self.published.append(report)
        for store, service in SERVICES.items():
            key = (report.kind, store)
            self.written[key] = self.written.get(key, 0) + report.sent.get(service, 0)
        if report.ending is Ending.COMPLETE:
            return []
        reason = report.failure or str(report.ending)
        log.error("Kind failed", data_type=report.kind, reason=reason)
        return [f"{report.kind}: {reason}"]

    async def _settle(self, sources: Sequence[ManifestSource]) -> None:
        """Check when the queues are empty; again as long as it gets better, for services hold some for a moment."""
        kinds = [source.kind for source in sources]
        most = 0

        def waiting(count: int) -> None:
            nonlocal most
            most = max(most, count)
            self.on_done("waiting for the services", most - count, most)

        operator = load_settings(OperatorSettings, self.environ)
        before: list[dict[str, int]] = []
        while True:
            with suppress(BrokerUnavailable):
                self.stuck = await until_drained(self.settings, kinds, waiting, stalled=self.stalled)
            await self._check(sources)
            now = [result.counts.as_data() for result in self.results.values()]
            if self.stuck or all(self._is_clean(kind) for kind in kinds):
                return
            if now != before:
                before = now
                await asyncio.sleep(_SETTLING)
                continue
            most = 0
            self.held = await until_settled(operator, self.settings, kinds, waiting, stalled=self.stalled)
            if self.held or not most:
                return

    async def _refuse_paused(self) -> None:
        """Nobody would write what is published; a ledger that can't be asked is no reason to refuse."""
        wanted = {(SERVICES[store], kind) for (kind, store), each in self.results.items() if not each.counts.complete}
        paused = [
            f"{book.service}'s {pause.kind} are paused since {pause.since:%Y-%m-%d %H:%M} by {pause.by}"
            + (f" ({pause.reason})" if pause.reason else "")
            for book in await ledgers_of(self.environ).read()
            for pause in book.pauses
            if (book.service, pause.kind) in wanted
        ]
        if paused:
            raise StartRefused(
                f"Nothing was published: {'; '.join(paused)}. Let them go on with `spindle resume SERVICE KIND`, or "
                "leave them out with --kinds."
            )

    async def _check(self, sources: Sequence[ManifestSource], *, recorded: bool = True) -> None:
        assert self.settings.state is not None  # noqa: S101
        checks = Checks(self.environ, self.settings.state, self.on_done, fresh=True, recorded=recorded)
        for result in await checks.run(sources, STORES):
            self.results[result.subject.kind, result.subject.store] = result

    def _is_clean(self, kind: str) -> bool:
        return all(result.counts.complete for (each, _), result in self.results.items() if each == kind)

    async def _announce(self, sources: Sequence[ManifestSource], began: str, *, is_whole: bool) -> None:
        """Say that all of these was published, and with the last of them the whole load: services flush at once, and
        the ledger knows.
        """
        counts = {source.kind: source.header.published for source in self.sources}
        async with publisher_of(self.settings, name="spindle load") as publisher:
            for source in sources:
                said = file_complete(
                    kind=source.kind,
                    load=self.load.date,
                    total_processed=source.header.published,
                    file=self.load.file_name(source.kind),
                )
                await publisher.publish(self.settings.names.exchange(source.kind), [said])
            done = extraction_complete(load=self.load.date, started_at=began, record_counts=counts)
            for source in self.sources if is_whole else ():
                await publisher.publish(self.settings.names.exchange(source.kind), [done])
            await publisher.flush()


def summary(loading: Loading, parts: Sequence[Part], problems: Sequence[str]) -> dict[str, Any]:
    """All that was done, for a program."""
    return {
        "load": loading.load.date,
        "complete": loading.is_complete,
        "refused": [*problems, *loading.refusals],
        "stuck": dict(loading.stuck),
        "held": dict(loading.held),
        "plan": as_data(parts),
        "report": str(loading.report) if loading.report else None,
        "rounds": loading.rounds,
        "seconds": round(loading.seconds, 3),
        "parts": [
            {
                "kind": kind,
                "store": store,
                "read": source.header.rows,
                "written": loading.written.get((kind, store), 0),
                "unchanged": next(part.same for part in parts if (part.kind, part.store) == (kind, store)),
                "successful": plan.same + plan.newer,
                "failed": plan.new + plan.changed + plan.dead,
                "skipped": sum(source.header.skipped.values()),
                "removed": loading.removed.get((kind, store), 0),
            }
            for source in loading.sources
            for (kind, store), plan in ((key, plan_of([result])[0]) for key, result in loading.results.items())
            if kind == source.kind
        ],
        "errors": [
            {"service": book.service, "kind": kind, **met}
            for book in loading.books
            for kind in loading.load.kinds
            for met in errors_as_data(book, loading.load.date, kind) or ()
        ],
        "troubles_of_errors": troubles(loading.books),
    }


def show(loading: Loading, parts: Sequence[Part], problems: Sequence[str], console: Console, *, plan: bool) -> None:
    """Print the plan, or what was done."""
    if plan or problems:
        console.print(plan_table(parts))
        for sentence in problems:
            console.print(sentence, style="red", markup=False, highlight=False)
        console.print("planned: nothing was published" if plan else "[bold red]refused[/]: nothing was published")
        return
    table = Table("kind", "store", box=None, pad_edge=False)
    names = ("read", "written", "unchanged", "successful", "failed", "skipped", "removed")
    for heading in names:
        table.add_column(heading, justify="right")
    for part in summary(loading, parts, problems)["parts"]:
        table.add_row(part["kind"], part["store"], *(f"{part[name]:,}" for name in names))
    console.print(table)
    if (met := errors_table(loading.books, loading.load.date)) is not None:
        console.print(met, style="yellow", highlight=False)
    for service, why in troubles(loading.books).items():
        console.print(f"{service}'s errors can't be read: {why}", style="yellow", markup=False, highlight=False)
    for line in lines(list(loading.results.values())):
        console.print(line, style="yellow", markup=False, highlight=False)
    for queue, count in loading.stuck.items():
        console.print(
            f"{count:,} records wait in {queue}, and none left it for {loading.stalled:,.0f} s: does its service run? "
            "`spindle status`",
            style="red",
            markup=False,
            highlight=False,
        )
    for queue, count in loading.held.items():
        console.print(
            f"{count:,} messages of {queue} are with its service, which has settled none for {loading.stalled:,.0f} s: "
            "`spindle status`",
            style="red",
            markup=False,
            highlight=False,
        )
    for sentence in loading.refusals:
        console.print(f"nothing was removed: {sentence}", style="red", markup=False, highlight=False)
    verdict = "[green]complete[/]" if loading.is_complete else "[bold red]NOT complete[/]: run it again"
    rounds = f"{loading.rounds} round{'' if loading.rounds == 1 else 's'}"
    console.print(f"{verdict}, in {loading.seconds:,.0f} s and {rounds}", highlight=False)


@contextmanager
def recorded(loading: Loading) -> Iterator[None]:
    """Keep a report of how the services did meanwhile, if publishing has begun: also of a load that is interrupted or
    fails, which is the one to be understood.

    A load is no less loaded without: whatever goes wrong with the report is said, and changes neither the load's end
    nor its error.
    """
    with ExitStack() as stack:
        recorder: Recorder | None = None
        with _spared("watched"):
            recorder = Recorder(loading.environ)
            stack.enter_context(recorder)
        ending = "failed"
        try:
            yield
            ending = ""
        except KeyboardInterrupt:
            ending = "interrupted"
            raise
        finally:
            with _spared("kept"):
                stack.close()
                _keep(loading, recorder, ending)


def _keep(loading: Loading, recorder: Recorder | None, ending: str) -> None:
    if recorder is None:
        return
    if recorder.trouble:
        _say_unreported("watched to the end", recorder.trouble)
    if not loading.has_begun or loading.settings.state is None:
        return
    window = recorder.window
    if window is not None:
        loading.report = keep(window, loading.settings.state, loading.load.date, loading.published, ending=ending)
        print(f"How it went, and what limited it: {loading.report}", file=sys.stderr)
    elif not recorder.trouble:
        print(f"No report of how it went: {recorder.lacking}.", file=sys.stderr)


@contextmanager
def _spared(what: str) -> Iterator[None]:
    """Say in one line what goes wrong with the report, and go on."""
    try:
        yield
    except Exception as error:  # noqa: BLE001  (whatever it is, the load is not about it)
        with suppress(OSError, ValueError):
            _say_unreported(what, f"{type(error).__name__}: {error}")


def _say_unreported(what: str, why: str) -> None:
    print(f"The load's report could not be {what}: {' '.join(redact(why).split())}", file=sys.stderr)


def _publish(loading: Loading, arguments: argparse.Namespace) -> None:
    waves = WAVES if arguments.waves else (loading.load.kinds,)
    told(lambda: asyncio.run(loading.publish(arguments.wait, waves=waves)), loading.environ)
    if arguments.remove and loading.is_complete:
        told(lambda: asyncio.run(loading.remove()), loading.environ)
