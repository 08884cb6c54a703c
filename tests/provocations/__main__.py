"""`make provocations`: make every situation for real, ask `spindle advise` about it, and compare.

Exit codes: 0 every situation gave its finding, and the healthy runs none; 1 one did not; 2 wrong use; 130 interrupted.
"""

import argparse
import asyncio
import json
import logging
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import structlog
from rich.console import Console

from common import VERSION
from tests.chaos.servers import own_servers
from tests.commands import end_with
from tests.integration import tables
from tests.provocations import broker, healthy, records, rivals, settings, stores  # noqa: F401  (they fill the list)
from tests.provocations.judging import Row
from tests.provocations.performing import perform
from tests.provocations.showing import line, table
from tests.provocations.situations import SITUATIONS, Situation
from tests.provocations.stage import Servers
from tests.servers.brokers import version_of
from tests.servers.servers import Neo4j, RabbitMQ


def main() -> int:
    """Run what the command line asks for. Returns: the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.provocations", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="this one; repeatable")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write what was found, for a program")
    parser.add_argument("--list", action="store_true", help="name the situations, and run none")
    options = parser.parse_args()
    chosen = [each for each in SITUATIONS if not options.only or {each.name, each.full_name} & {*options.only}]
    unknown = {*options.only} - {name for each in chosen for name in (each.name, each.full_name)}
    if unknown:
        parser.error(f"no situation is called {', '.join(sorted(unknown))}: see --list")
    if options.list:
        for each in chosen:
            print(f"{each.full_name:40}{each.expected:16}{each.how}")
        return 0
    logging.getLogger("neo4j.notifications").setLevel(logging.ERROR)  # an empty graph is what it warns of
    quiet = structlog.make_filtering_bound_logger(logging.CRITICAL)  # of our publishers' troubles
    structlog.configure(wrapper_class=quiet)
    with own_servers() as servers:
        document = asyncio.run(_run(Servers(*servers), chosen))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(document, indent=1) + "\n")
    return 1 if document["wrong"] else 0


async def _run(servers: Servers, chosen: Sequence[Situation]) -> dict[str, Any]:
    began, rows, console = time.monotonic(), list[Row](), Console(width=None if sys.stdout.isatty() else 180)

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    for number, situation in enumerate(chosen, start=1):
        rows.append(await perform(servers, situation, number))
        say(f"{number}/{len(chosen)}  {line(rows[-1])}")
    seconds = time.monotonic() - began
    console.print(table(rows))
    wrong = [row.name for row in rows if not row.is_right]
    count = "1 situation" if len(rows) == 1 else f"{len(rows)} situations"
    say(f"{count} in {seconds:.0f} s, {len(wrong)} not as expected{': ' * bool(wrong)}{', '.join(wrong)}")
    return {
        "versions": await _versions(servers),
        "seconds": round(seconds),
        "wrong": wrong,
        "situations": [asdict(row) for row in rows],
    }


async def _versions(servers: Servers) -> dict[str, Any]:
    own, graph = servers.rabbitmq, servers.neo4j
    [[sql]] = await tables.fetch(servers.postgres.dsn, "SHOW server_version")
    neo4j = Neo4j(graph.uri, graph.username, graph.password, graph.database)
    return {
        "spindle": VERSION,
        "rabbitmq": version_of(RabbitMQ(own.url, own.management_url)),
        "postgresql": str(sql).split(" ")[0],
        "neo4j": await asyncio.to_thread(neo4j.version),
    }


if __name__ == "__main__":
    end_with(main)
