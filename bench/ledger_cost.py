"""What the tables' ledger costs a new record: `python -m bench.ledger_cost [--rounds N]`, on a PostgreSQL of its own.

tableinator's own sink writes the same releases with its ledger and without, in turns, in one process and on one
connection, without a queue: what a whole run can't tell from its noise shows here. Without it there is no upsert; the
numbers of a batch are counted all the same.
"""

import argparse
import asyncio
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from pydantic import SecretStr

from bench.processes import cpu_seconds
from bench.records import load_of, releases
from bench.servers import running
from common.errors import StartRefused
from common.progress import Note
from common.telemetry import logs
from devstack.stack.recipe import StackFailed
from spindle.stopping import stop_on_sigterm
from tableinator.connections import Connections
from tableinator.model import Row
from tableinator.schema import prepare_tables
from tableinator.settings import PostgresSettings
from tableinator.sink import TableSink
from tableinator.transaction import Transaction

_KIND = "releases"
_BATCH = 500
_IN_A_TURN = 40
"""Batches that one way writes before the other: PostgreSQL's CPU is read in hundredths of a second."""


@dataclass(frozen=True, slots=True)
class Turn:
    """Microseconds a record: of our process, of PostgreSQL with all of its own, and of the clock."""

    ours: float
    postgres: float
    clock: float


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and show it."""
    parser = argparse.ArgumentParser(prog="python -m bench.ledger_cost", description="Measure what the ledger costs.")
    parser.add_argument("--rounds", type=_rounds, default=10, metavar="N", help="default 10, some 6 s each")
    arguments = parser.parse_args(argv)
    stop_on_sigterm()
    logs.configure("bench", level="warning")
    try:
        with running({"postgres"}, print) as addresses:
            turns = asyncio.run(_measure(addresses.postgres_dsn, addresses.processes()["postgres"], arguments.rounds))
    except (StartRefused, StackFailed) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    print("\n".join(lines(turns)))
    return 0


def _rounds(text: str) -> int:
    if text.isdecimal() and 1 <= int(text) <= 1000:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 1000")


def lines(rounds: Sequence[tuple[Turn, Turn]]) -> list[str]:
    """What is shown: for each sort of time, its median without the ledger, and by how much more it is with it. Pure."""
    shown = []
    for name, meaning in (("ours", "our CPU"), ("postgres", "PostgreSQL's CPU"), ("clock", "time")):
        plain = median(getattr(without, name) for _, without in rounds)
        more = [getattr(kept, name) - getattr(without, name) for kept, without in rounds]
        least, middle, most = min(more), median(more), max(more)
        shown.append(
            f"{meaning}: {plain:.3g} µs a record without the ledger, {middle:+.2f} ({least:+.2f} to {most:+.2f}) with "
            f"it: {1 + middle / plain:.3f} times as much"
        )
    return shown


class _Bookless(TableSink):
    """The same sink, which keeps no book."""

    def __init__(self, connections: Connections) -> None:
        super().__init__(connections, _KIND)
        setattr(self.ledger, "write", _nothing)  # noqa: B010  (as mypy wants it)


async def _nothing(_transaction: Transaction, _note: Note) -> None: ...


async def _measure(dsn: str, server: int, rounds: int) -> list[tuple[Turn, Turn]]:
    count = _BATCH * _IN_A_TURN
    rows = [Row(each.id, each.sha256, "20260101", each.body) for each in releases(load_of(count, seed=1), count)]
    settings = PostgresSettings(dsn=SecretStr(dsn))
    found = []
    async with Connections(settings, size=1) as connections:
        await prepare_tables(connections, (_KIND,))
        ways = (TableSink(connections, _KIND), _Bookless(connections))
        for number in range(rounds + 1):
            order = random.Random(number).sample((0, 1), 2)
            turns = {way: await _turn(connections, ways[way], rows, server) for way in order}
            if number:  # the first one made the connection and planned the statements
                found.append((turns[0], turns[1]))
    return found


async def _turn(connections: Connections, sink: TableSink, rows: Sequence[Row], server: int) -> Turn:
    async with connections.transaction() as transaction:
        await transaction.execute(f"TRUNCATE {_KIND}")
        await transaction.commit()
    ours, postgres, clock = time.process_time(), cpu_seconds(server), time.perf_counter()
    for begin in range(0, len(rows), _BATCH):
        outcomes = await sink.write(rows[begin : begin + _BATCH])
        assert outcomes.new == _BATCH, outcomes
    return Turn(
        *(
            1e6 * seconds / len(rows)
            for seconds in (time.process_time() - ours, cpu_seconds(server) - postgres, time.perf_counter() - clock)
        )
    )


if __name__ == "__main__":
    sys.exit(main())
