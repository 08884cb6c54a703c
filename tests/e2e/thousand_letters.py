"""A stream of which a thousand messages become dead letters for five reasons; and an operator at the commands.

What an operator can fix: a constraint that somebody added to a table by hand, an index that somebody added to the
graph by hand, a message limit set too low. What nobody can: what is no JSON, has no id, or has another shape.
"""

import asyncio
import base64
import json
import os
import random
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from common.kinds import Service
from common.rabbitmq.publishing.publisher import Outgoing, Publisher
from extractor.control import headers
from tests.e2e.broker import Broker
from tests.e2e.sides import Graph, Tables
from tests.integration import graphs, tables
from tests.servers.amqp import settings
from tests.told import told

LOAD = "20260301"
KINDS = ("artists", "labels")
SETTINGS = {"KINDS": ",".join(KINDS)}
CAUSES = {Service.TABLEINATOR: {"MESSAGE_MAX_BYTES": "16KiB"}, Service.GRAPHINATOR: {}}
"""A limit that is too low for some of the records."""
# A replay brings unreadable messages back without good ones between them: quarantine would hold all but 99 of them.
MENDED = {service: {"DEAD_LETTER_FLOOD": "allow"} for service in Service}

LETTERS = {
    ("graphinator", "artists", "not_json", ""): 100,
    ("graphinator", "labels", "no_usable_id", ""): 100,
    ("graphinator", "labels", "projection_failed", ""): 200,
    ("graphinator", "labels", "refused", "Neo.DatabaseError.Statement.ExecutionFailed"): 100,
    ("tableinator", "artists", "not_json", ""): 100,
    ("tableinator", "artists", "refused", "23514"): 200,
    ("tableinator", "labels", "no_usable_id", ""): 100,
    ("tableinator", "labels", "too_large", ""): 100,
}
"""By service, kind, reason and code: a thousand."""
NEVER = {
    place: count for place, count in LETTERS.items() if place[2] in ("not_json", "no_usable_id", "projection_failed")
}

STORED: dict[Service, dict[str, tuple[str, ...]]] = {
    Service.TABLEINATOR: {"artists": ("good", "mended"), "labels": ("good", "long", "shapeless")},
    Service.GRAPHINATOR: {"artists": ("good", "mended"), "labels": ("good", "long")},
}
"""What each store must hold at the end, by the first part of the ids."""
COUNTS = {"artists": {"good": 200, "mended": 200}, "labels": {"good": 100, "long": 100, "shapeless": 200}}
_UNREADABLE = 100


def messages() -> dict[str, list[bytes]]:
    """Each kind's bodies, well mixed; the last one is good."""
    rng = random.Random(7)
    long = base64.b64encode(rng.randbytes(30_000)).decode()  # 40 kB that no index entry can hold, and no limit of 16
    names: dict[str, Any] = {"good": "a name", "mended": "refused by hand", "long": long, "shapeless": {"en": "a name"}}
    bodies = {
        kind: [_data(record_id, names[sort]) for sort in sorts for record_id in ids(kind, sort)]
        for kind, sorts in COUNTS.items()
    }
    bodies["artists"] += [b"{not json %d" % number for number in range(_UNREADABLE)]
    bodies["labels"] += [_data(None, f"nobody {number}") for number in range(_UNREADABLE)]
    for kind, of_kind in bodies.items():
        rng.shuffle(of_kind)
        last = _data(ids(kind, "good")[0], "a name")
        of_kind.remove(last)
        of_kind.append(last)
    return bodies


def ids(kind: str, sort: str) -> list[str]:
    """The ids of a kind's records of a sort."""
    return [f"{sort}-{number}" for number in range(COUNTS[kind][sort])]


def expected_ids(service: Service, kind: str) -> set[str]:
    """What a store must hold of a kind in the end."""
    return {record_id for sort in STORED[service][kind] for record_id in ids(kind, sort)}


def _data(record_id: str | None, name: Any) -> bytes:
    return json.dumps({"type": "data", "id": record_id, "sha256": f"hash of {record_id}", "name": name}).encode()


async def publish(broker: Broker, bodies: Mapping[str, list[bytes]]) -> None:
    """Publish all kinds at once."""
    async with Publisher(settings(broker.url), max_unconfirmed=2000, name="test") as publisher:
        for kind, of_kind in bodies.items():
            outgoing = [Outgoing(body, "", headers(LOAD, 0)) for body in of_kind]
            await publisher.publish(broker.names.exchange(kind), outgoing)
        await publisher.flush()


async def spoil(tables_: Tables, graph: Graph) -> None:
    """Add what an operator has added by hand; the services have made their tables and constraints."""
    await tables.run(
        tables_.dsn, "ALTER TABLE artists ADD CONSTRAINT by_hand CHECK (data ->> 'name' <> 'refused by hand')"
    )
    await graphs.fetch(graph.server, "CREATE INDEX by_hand FOR (n:Label) ON (n.name)")
    await graphs.fetch(graph.server, "CALL db.awaitIndexes(30)")


async def mend(tables_: Tables, graph: Graph) -> None:
    """Take both away again."""
    await tables.run(tables_.dsn, "ALTER TABLE IF EXISTS artists DROP CONSTRAINT IF EXISTS by_hand")
    await graphs.fetch(graph.server, "DROP INDEX by_hand IF EXISTS")


@dataclass(frozen=True, slots=True)
class Actions:
    """Where an operator types `spindle dead-letters …`."""

    environment: Mapping[str, str]

    @asynccontextmanager
    async def typed(self, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
        """A command under way, killed if it outlives the block."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "spindle", "dead-letters", *arguments),
            env={"PATH": os.environ["PATH"], **self.environment},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    async def run(self, *arguments: str) -> Any:
        """Run a command to its end. Returns: what it says to a program."""
        async with asyncio.timeout(60.0):
            said = await told(["dead-letters", *arguments, "--json"], self.environment)
        assert said.code == 0, said.err
        return json.loads(said.out)

    async def count(self, *filters: str) -> int:
        """How many letters these filters choose."""
        return int((await self.run("list", *filters))["letters"])

    async def groups(self) -> dict[tuple[str, str, str, str], int]:
        """How many letters there are, by service, kind, reason and code."""
        found = (await self.run("list"))["groups"]
        return {(each["service"], each["kind"], each["reason"], each["code"]): each["letters"] for each in found}
