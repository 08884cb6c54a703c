"""`spindle refine`: fill the tables that people query from the raw rows, inside the server."""

import argparse
import asyncio
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from common.errors import SinkError, SpindleError, StartRefused
from common.kinds import KINDS
from common.settings.environment import load as load_settings
from common.telemetry import logs
from spindle.environments import add_stack_argument, environment_of
from spindle.output import readers_may_leave, wide_console
from spindle.progress import OnDone, following
from spindle.refinement import report
from spindle.settings import OperatorSettings
from spindle.sources import add_kinds_argument
from tableinator.ops.ledger import record_event
from tableinator.ops.refinement import surveying
from tableinator.ops.refinement.definitions import TABLES, indexes, table_of
from tableinator.ops.refinement.exclusion import alone
from tableinator.ops.refinement.indexes import Planned, make_indexes, plan_indexes
from tableinator.ops.refinement.refining import PATIENCE, PER_RANGE, Refined, Refinement
from tableinator.ops.refinement.statements import SCHEMA, check_schema
from tableinator.settings import PostgresSettings

T = TypeVar("T")

_ABOUT = """\
Fill the tables that people query (release, release_track, artist, … as discogs-xml2db names them) from the raw rows,
inside the server. Only records that differ are touched, only rows that differ are written, and what is gone goes. Each
range of ids is one transaction: run it again after an interruption, and it goes on. A record that can't be refined
is named and skipped. docs/refine.md has every column.

exit codes: 0 everything is refined; 1 some records were skipped, or it failed on the way: run it again; 2 refused
"""


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add this command to the operator's."""
    parser = commands.add_parser(
        "refine",
        help="fill the tables that people query from the raw rows",
        description=_ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_kinds_argument(parser, default=KINDS)
    parser.add_argument("--plan", action="store_true", help="only say how much there is to do: records, rows, disk")
    parser.add_argument(
        "--table", metavar="NAME", action="append", choices=[each.name for each in TABLES], help="make this table again"
    )
    parser.add_argument("--indexes", action="store_true", help="make the indexes for searching")
    parser.add_argument("--findings", action="store_true", help="look for references to records that are not there")
    parser.add_argument(
        "--whole", action="store_true", help="compare every record, not only those written since the last run"
    )
    parser.add_argument("--workers", type=_few, default=2, metavar="N", help="ranges at a time (default 2)")
    parser.add_argument(
        "--range", type=_some, default=PER_RANGE, metavar="N", help=f"records of a transaction (default {PER_RANGE})"
    )
    parser.add_argument("--schema", default=SCHEMA, metavar="NAME", help=f"where the tables are (default {SCHEMA})")
    add_stack_argument(parser)
    parser.add_argument("--json", action="store_true", help="for a program")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Do what is asked for, and show it; return the exit code."""
    environ = environment_of(arguments)
    check_schema(arguments.schema)
    settings = load_settings(PostgresSettings, environ)
    logs.configure("spindle refine", level="warning", log_format=load_settings(OperatorSettings, environ).log_format)
    job = _Job(settings, arguments)
    if arguments.plan:
        return _told(job.plan, settings)
    if arguments.indexes:
        return _told(job.index, settings)
    return _told(job.refine, settings)


@dataclass(frozen=True, slots=True)
class _Job:
    """What was asked for."""

    settings: PostgresSettings
    arguments: argparse.Namespace

    @property
    def _schema(self) -> str:
        return str(self.arguments.schema)

    @property
    def _kinds(self) -> Sequence[str]:
        """The kinds that are asked for, masters before releases; of a table to be made again, its own."""
        named = {table_of(name).kind for name in self.arguments.table or ()}
        return [kind for kind in KINDS if kind in (named or self.arguments.kinds)]

    def plan(self) -> int:
        """Say how much there is to do."""
        if self.arguments.indexes:
            planned = asyncio.run(plan_indexes(self.settings, self._schema, indexes()))
            self._say(
                [{"index": each.index.name, "bytes": each.bytes} for each in planned], report.index_table(planned)
            )
            return 0
        found = asyncio.run(surveying.survey(self.settings, self._schema, self._kinds))
        plans = [report.plan_of(each) for each in found]
        self._say(report.plan_as_data(plans), report.plan_table(plans))
        return 0

    def index(self) -> int:
        """Make the indexes; say before what they will take."""
        planned, trigrams = asyncio.run(self._index())
        names = [each.index.name for each in planned]
        if self.arguments.json:
            print(json.dumps({"indexes": names, "trigrams": trigrams}))
        elif not trigrams:
            print("pg_trgm is not there: titles and names are searched by words", file=sys.stderr)
        return 0

    async def _index(self) -> tuple[list[Planned], bool]:
        # Alone, because an index that another is still making looks like one that an interrupted run has left.
        async with alone(self.settings, self._schema):
            planned = await plan_indexes(self.settings, self._schema, indexes())
            if not self.arguments.json:
                wide_console().print(report.index_table(planned))
            with following() as on_done:
                patient = self.settings.model_copy(update={"command_timeout": PATIENCE})
                return planned, await make_indexes(patient, self._schema, planned, on_done)

    def refine(self) -> int:
        """Refine, and look for what dangles."""
        with following() as on_done:
            done, found = asyncio.run(self._refine(on_done))
        failed = asyncio.run(surveying.failures(self.settings, self._schema, self._kinds))
        with readers_may_leave():
            if self.arguments.json:
                print(json.dumps(report.as_data(done, failed, found), indent=2))
            else:
                report.show(done, failed, found, wide_console())
        return 1 if any(each.failed for each in done) else 0

    async def _refine(self, on_done: OnDone) -> tuple[list[Refined], Mapping[str, int] | None]:
        work = Refinement(
            self.settings,
            self._schema,
            workers=self.arguments.workers,
            per_range=self.arguments.range,
            on_done=on_done,
        )
        done = []
        async with work:
            try:
                await work.prepare()
            except SinkError as error:
                raise StartRefused(_cannot(self.settings, error)) from error
            for kind in self._kinds:
                rebuild = [name for name in self.arguments.table or () if table_of(name).kind == kind]
                done.append(await work.refine(kind, rebuild=rebuild, whole=self.arguments.whole))
                await self._record(done[-1])
        found = None
        if self.arguments.findings:
            found = await surveying.find_dangling(self.settings, self._schema, on_done)
        return done, found

    async def _record(self, done: Refined) -> None:
        """Tell the ledger, if there is one and this login may: what is refined is no less so without."""
        if not done.records:
            return
        detail = {"records": done.records, "new": done.new, "changed": done.changed, "gone": done.gone}
        detail |= {"failed": done.failed}
        event = "rebuilt" if done.rebuilt else "refined"
        try:
            await record_event(
                self.settings, done.kind, "refine", event, rows=done.rows, seconds=done.seconds, detail=detail
            )
        except SinkError as error:
            why = getattr(error, "alarm", None) or error
            print(f"{done.kind}: the ledger was not told of it: {why}", file=sys.stderr)

    def _say(self, data: Any, table: Any) -> None:
        with readers_may_leave():
            if self.arguments.json:
                print(json.dumps(data, indent=2))
            else:
                wide_console().print(table)


def _told(what: Callable[[], T], settings: PostgresSettings) -> T:
    try:
        return what()
    except SinkError as error:
        raise SpindleError(f"{_cannot(settings, error)} What is done is done; run it again.") from error


def _cannot(settings: PostgresSettings, error: SinkError) -> str:
    why = str(getattr(error, "alarm", None) or error).removesuffix(".")
    return f"PostgreSQL at {settings.address} can't be worked with: {why}."


def _few(text: str) -> int:
    return _between(text, 1, 64)


def _some(text: str) -> int:
    return _between(text, 1, 100_000)


def _between(text: str, least: int, most: int) -> int:
    if not text.isdecimal() or not least <= int(text) <= most:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} to {most}")
    return int(text)
