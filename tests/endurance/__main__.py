"""`make endurance`: both services under full load for an hour, or MINUTES=…, a replica of each restarted all the while.

Exit codes: 0 memory, descriptors and tasks are flat, and every record is stored; 1 something is not: see the JSON;
130 interrupted.
"""

import argparse
import asyncio
import json
import logging
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.chaos.servers import own_servers
from tests.commands import end_with
from tests.e2e.sides import Graph, Tables
from tests.endurance.running import Pair, load, pair_of
from tests.servers import servers

RESTARTS = 20
LONGEST, SHORTEST = 180.0, 15.0  # seconds between two restarts


def main() -> int:
    """Run what the command line asks for. Returns: the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.endurance", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--json", type=Path, default=Path("build/endurance.json"), help="where the result goes")
    options = parser.parse_args()
    logging.getLogger("neo4j.notifications").setLevel(logging.ERROR)  # an empty graph is what it warns of
    document = _run(options.minutes * 60)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(document, indent=1) + "\n")
    _tell(document)
    print(f"{document['verdict']}: {options.json}")
    return 1 if document["complaints"] else 0


def _run(seconds: float) -> dict[str, Any]:
    with (
        own_servers() as (rabbitmq, postgres, neo4j),
        servers.database_of_this_run(servers.Postgres(postgres.dsn)) as database,
        tempfile.TemporaryDirectory() as folder,
    ):
        return asyncio.run(_loaded(rabbitmq.url, Tables(database.dsn), Graph(neo4j), Path(folder), seconds))


async def _loaded(url: str, tables: Tables, graph: Graph, folder: Path, seconds: float) -> dict[str, Any]:
    every = min(LONGEST, max(SHORTEST, seconds / RESTARTS))
    began = time.monotonic()
    async with pair_of(tables, url, folder) as one, pair_of(graph, url, folder) as two:
        pairs: list[Pair] = [one, two]
        await load(pairs, seconds=seconds, restart_every=every)
    complaints = [sentence for pair in pairs for sentence in pair.complaints()]
    return {
        "minutes": round(seconds / 60, 2),
        "restart_every_seconds": every,
        "seconds_in_all": round(time.monotonic() - began, 1),
        "verdict": "not flat, or not all stored" if complaints else "flat, and all stored",
        "complaints": complaints,
        "services": {pair.side.service: pair.document() for pair in pairs},
    }


def _tell(document: dict[str, Any]) -> None:
    for name, found in document["services"].items():
        quarters = found["quarters"]
        memory = [quarters["resident_bytes"][end] / 2**20 for end in ("first", "last")]
        print(
            f"{name}: {found['published']:,} published, {found['restarts']} restarts, {found['lost']} lost, "
            f"{found['wrong']} wrong, {found['dead_letters']} dead letters; first and last quarter: "
            f"{memory[0]:.1f} and {memory[1]:.1f} MiB, "
            f"{quarters['descriptors']['first']:g} and {quarters['descriptors']['last']:g} descriptors, "
            f"{quarters['tasks']['first']:g} and {quarters['tasks']['last']:g} tasks"
        )
    for sentence in document["complaints"]:
        print(sentence)


if __name__ == "__main__":
    end_with(main)
