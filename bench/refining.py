"""How fast raw rows become tables for people, beside `psql \\copy` of the same rows: `python -m bench.refining`.

Made-up records of all kinds go into the raw tables of a server of its own, are refined, and what came out is copied out
and in again, table by table, into empty tables made the same way. The copy has nothing to do but to write: it is what
loading ready-made files takes at the least. Then a month in which a twentieth of the releases differ.
"""

import argparse
import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
from pydantic import SecretStr
from rich.console import Console

from bench.psql import without_password
from bench.running import files
from bench.servers import running
from bench.tables import COLUMNS, Tables, write_binary
from common.errors import StartRefused
from common.kinds import KINDS
from common.telemetry import logs
from devstack.stack.recipe import StackFailed
from extractor.loads import messages
from extractor.synthetic.synthetic import SyntheticLoad
from spindle.stopping import stop_on_sigterm
from tableinator.ops.refinement.definitions import TABLES, tables_of
from tableinator.ops.refinement.refining import Refined, Refinement
from tableinator.ops.refinement.statements import creation
from tableinator.settings import PostgresSettings

_LIMIT = 1800.0  # for one copy, in seconds


class Measured(msgspec.Struct, frozen=True):
    """One kind: records, the rows and bytes of its tables, and the seconds that each way took."""

    kind: str
    records: int
    rows: int
    bytes: int
    refine_seconds: float
    copy_seconds: float


class Report(msgspec.Struct, frozen=True):
    """A run. `changed` records differed in the month afterwards, which took `month_seconds` for `month_rows` rows."""

    workers: int
    kinds: list[Measured]
    changed: int
    month_rows: int
    month_seconds: float


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, write the result, show it."""
    parser = argparse.ArgumentParser(prog="python -m bench.refining", description="Measure spindle refine.")
    parser.add_argument("--records", type=int, default=100_000, metavar="N", help="of all kinds (default 100000)")
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="ranges at a time (default 2)")
    parser.add_argument("--json", type=Path, default=Path("build/refining.json"), metavar="FILE", help="the result")
    arguments = parser.parse_args(argv)
    stop_on_sigterm()
    logs.configure("bench", level="warning")
    try:
        with files() as folder, running({"postgres"}, _say) as addresses:
            report = asyncio.run(_measure(addresses.postgres_dsn, folder, arguments.records, arguments.workers))
    except (StartRefused, StackFailed) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_bytes(msgspec.json.format(msgspec.json.encode(report)))
    _show(report)
    return 0


async def _measure(dsn: str, folder: Path, records: int, workers: int) -> Report:
    load = SyntheticLoad(records, seed=1)
    await _fill(dsn, folder, load)
    settings = PostgresSettings(dsn=SecretStr(dsn))
    tables = await Tables.connect(dsn)
    work = Refinement(settings, "discogs", workers=workers, on_done=lambda *_: None)
    measured = []
    async with work:
        await work.prepare()
        for kind in KINDS:
            await tables.settle()
            _say(f"refining {kind}")
            done = await work.refine(kind)
            names = [table.name for table in tables_of(kind)]
            [[size]] = await tables.fetch(
                "SELECT sum(pg_total_relation_size(('discogs.' || name)::regclass))::bigint "
                "FROM unnest($1::text[]) AS name",
                names,
            )
            copied = await _copy(dsn, folder, kind)
            measured.append(Measured(kind, done.records, done.rows, size, done.seconds, copied))
        month = await _month(tables, work)
    await tables.close()
    return Report(workers, measured, month.changed, month.rows, month.seconds)


async def _fill(dsn: str, folder: Path, load: SyntheticLoad) -> None:
    tables = await Tables.connect(dsn)
    await tables.fetch("DROP SCHEMA IF EXISTS discogs, copied CASCADE")
    await tables.make(*KINDS)
    await tables.close()
    for kind in KINDS:
        _say(f"making {kind}")
        path = folder / f"{kind}.raw"
        write_binary(path, messages(load, kind), load=load.date)
        _psql(dsn, f"\\copy {kind} ({', '.join(COLUMNS)}) from '{path}' with (format binary)", f"ANALYZE {kind}")


async def _copy(dsn: str, folder: Path, kind: str) -> float:
    """Copy a kind's refined rows out, and in again. Returns: the seconds of the latter."""
    tables = await Tables.connect(dsn)
    await tables.fetch("CREATE SCHEMA IF NOT EXISTS copied")
    commands = []
    for table in tables_of(kind):
        path = folder / f"{table.name}.copy"
        _psql(dsn, f"\\copy discogs.{table.name} to '{path}'")
        await tables.fetch(creation("copied", table))
        commands.append(f"\\copy copied.{table.name} from '{path}'")
        path.read_bytes()  # from the page cache, not from the disk
    await tables.settle()
    _say(f"copying {kind}")
    began = time.monotonic()
    _psql(dsn, *commands)
    seconds = time.monotonic() - began
    for table in tables_of(kind):
        [[same]] = await tables.fetch(
            f"SELECT (SELECT count(*) FROM copied.{table.name}) = (SELECT count(*) FROM discogs.{table.name})"
        )
        assert same, table.name
    await tables.fetch("DROP SCHEMA copied CASCADE")
    await tables.close()
    return seconds


async def _month(tables: Tables, work: Refinement) -> Refined:
    """Change a twentieth of the releases a little, and refine them."""
    await tables.fetch(
        "UPDATE releases SET hash = 'changed', data = jsonb_set(data, '{notes}', '\"Changed.\"') "
        "WHERE data_id::integer % 20 = 0"
    )
    _say("making the indexes that changed records need, and refining them")
    return await work.refine("releases")


def _psql(dsn: str, *commands: str) -> None:
    address, password = without_password(dsn)
    arguments = [word for command in commands for word in ("-c", command)]
    subprocess.run(
        ["psql", "-q", "-X", "-v", "ON_ERROR_STOP=1", "-d", address, *arguments],
        env={**os.environ, "PGPASSWORD": password},
        check=True,
        timeout=_LIMIT,
    )


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr)


def _show(report: Report) -> None:
    console = Console(width=140)
    for each in report.kinds:
        console.print(
            f"{each.kind}: {each.records:,} records, {each.rows:,} rows, {each.bytes / max(1, each.records):,.0f} "
            f"bytes a record; refined {each.records / each.refine_seconds:,.0f} records/s, "
            f"{each.rows / each.refine_seconds:,.0f} rows/s; copied {each.rows / each.copy_seconds:,.0f} rows/s",
            highlight=False,
        )
    rows = sum(each.rows for each in report.kinds)
    refined, copied = (sum(getattr(each, f"{way}_seconds") for each in report.kinds) for way in ("refine", "copy"))
    console.print(
        f"all {len(TABLES)} tables: refined {rows / refined:,.0f} rows/s by {report.workers} workers, copied "
        f"{rows / copied:,.0f} rows/s by one psql",
        highlight=False,
    )
    console.print(
        f"a month: {report.changed:,} changed releases, {report.month_rows:,} rows written, in "
        f"{report.month_seconds:.1f} s with the indexes that this needs once",
        highlight=False,
    )


if __name__ == "__main__":
    sys.exit(main())
