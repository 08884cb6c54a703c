"""A broker, a PostgreSQL and a Neo4j for many runs, natively, stopped at the end however that comes."""

import platform
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from common import VERSION
from devstack.stack.native import SERVERS
from tests.chaos.world import World
from tests.integration import graphs, tables
from tests.servers import native
from tests.servers.brokers import version_of
from tests.servers.native import NativeRun, OwnNeo4j, OwnPostgres, OwnRabbitMQ


@contextmanager
def own_servers() -> Iterator[tuple[OwnRabbitMQ, OwnPostgres, OwnNeo4j]]:
    """Start all three."""
    run = NativeRun()
    try:
        run.stack("chaos").up(SERVERS)
        rabbitmq, postgres, neo4j = (run.stack("chaos").member(name) for name in SERVERS)
        yield (
            OwnRabbitMQ(rabbitmq, native.rabbitmq_at(rabbitmq.place)),
            OwnPostgres(postgres, native.postgres_at(postgres.place)),
            OwnNeo4j(neo4j, native.neo4j_at(neo4j.place)),
        )
    finally:
        with ThreadPoolExecutor(1) as thread:  # a second Ctrl-C must not leave servers behind
            thread.submit(run.close).result()


async def facts(world: World) -> dict[str, Any]:
    """What the runs have run on."""
    [[components]] = await graphs.fetch(
        world.neo4j, "CALL dbms.components() YIELD name, versions WHERE name = 'Neo4j Kernel' RETURN versions[0]"
    )
    [[sql]] = await tables.fetch(world.postgres.dsn, "SHOW server_version")
    return {
        "versions": {
            "spindle": VERSION,
            "rabbitmq": version_of(world.management),
            "postgresql": str(sql).split(" ")[0],
            "neo4j": components,
            "python": platform.python_version(),
        },
        "full_disk": world.disk.what,
    }
