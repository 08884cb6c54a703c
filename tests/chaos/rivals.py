"""A second writer in each store, which locks what the service locks in the opposite order, and rolls back."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
from neo4j.exceptions import DriverError, Neo4jError

from tests.chaos.drawing import Fault
from tests.chaos.scene import Scene
from tests.integration import graphs

_IDS = 4
_PAUSE = 0.05
"""Seconds between two locks: time for the service to take the next one."""
_LIMIT = 5.0
"""Seconds for one statement."""


@asynccontextmanager
async def deadlocks(scene: Scene, fault: Fault) -> AsyncIterator[None]:
    """Be in a store's way for as long as the block lasts."""
    rival = _in_tables if fault.where == "postgres" else _in_graph
    task = scene.tasks.create_task(rival(scene), name="rival")
    try:
        yield
    finally:
        task.cancel()


async def _in_tables(scene: Scene) -> None:
    connection = await asyncpg.connect(scene.place.tables.dsn, timeout=10.0, command_timeout=_LIMIT)
    try:
        while True:
            kind, ids = _chosen(scene)
            transaction = connection.transaction()
            await transaction.start()
            try:
                for record_id in ids:
                    await connection.execute(
                        f"INSERT INTO {kind} (data_id, hash, data) VALUES ($1, 'rival', '{{}}')"
                        f" ON CONFLICT (data_id) DO UPDATE SET hash = {kind}.hash",
                        record_id,
                    )
                    await asyncio.sleep(_PAUSE)
            except (asyncpg.PostgresError, TimeoutError):
                pass  # a deadlock, which it has lost
            finally:
                await transaction.rollback()
    finally:
        connection.terminate()


async def _in_graph(scene: Scene) -> None:
    async with graphs.driver(scene.world.neo4j) as direct:
        while True:
            kind, ids = _chosen(scene)
            label = kind.removesuffix("s").capitalize()
            async with direct.session(database=scene.world.neo4j.database) as session:
                transaction = await session.begin_transaction(timeout=_LIMIT)
                try:
                    for record_id in ids:
                        await transaction.run(f"MERGE (n:{label} {{id: $id}}) SET n.id = $id", id=record_id)
                        await asyncio.sleep(_PAUSE)
                except (Neo4jError, DriverError):
                    pass
                finally:
                    await transaction.close()  # rolls back


def _chosen(scene: Scene) -> tuple[str, list[str]]:
    """Ids of a kind, the last first: the services take them in order."""
    rng: random.Random = scene.rng
    kind = rng.choice([kind for kind, ids in scene.material.ids.items() if len(ids) >= _IDS])
    return kind, sorted(rng.sample(scene.material.ids[kind], _IDS), reverse=True)
