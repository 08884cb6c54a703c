"""What an operator, or a policy of his, does to the servers in the middle of a load."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.error import HTTPError
from urllib.parse import quote

from common.kinds import Service
from tests.chaos.drawing import Fault
from tests.chaos.scene import Scene, Skipped
from tests.chaos.world import ROLE, USER
from tests.integration import tables
from tests.servers.amqp import memory_alarm, peer_of

_EMPTY = 25.0
"""Seconds for a service to empty its queues, so that what is deleted holds nothing."""
_BACK = 20.0
_LOOK = 0.1


@asynccontextmanager
async def queue_deleted(scene: Scene, fault: Fault) -> AsyncIterator[None]:
    """Delete an empty queue; the broker cancels its consumer, and the service must make it again before more comes.

    Not made again by us: where that happens before the broker has cancelled the consumer, RabbitMQ 3.10 moves the
    consumer to the new queue on its own, counts what it gives out there, and sends nothing until the channel ends.
    """
    service = Service(fault.where)
    queue = scene.place.broker.names.queue(service, fault.record_kind)
    async with scene.producer.between:
        if not await scene.until_empty(service, _EMPTY):
            raise Skipped("the queue was not empty in time")
        async with peer_of(scene.place.broker.url) as peer:
            await peer.delete_queue(queue)
        yield
        async with asyncio.timeout(_BACK):
            while not await scene.has_queue(queue):
                await asyncio.sleep(_LOOK)


@asynccontextmanager
async def connections_closed(scene: Scene, fault: Fault) -> AsyncIterator[None]:
    """Close every connection of the services in the broker's management."""
    for connection in await asyncio.to_thread(scene.world.management.api, "GET", "connections"):
        if connection.get("user") == USER:
            with suppress(HTTPError):  # it has ended meanwhile
                await scene.world.api("DELETE", f"connections/{quote(connection['name'], safe='')}")
    yield


@asynccontextmanager
async def login_revoked(scene: Scene, fault: Fault) -> AsyncIterator[None]:
    """Take the services' login away, end their connections, and give it back later."""
    world, vhost = scene.world, scene.place.vhost
    if fault.where == "rabbitmq":
        await world.api("DELETE", f"permissions/{vhost}/{USER}")
        world.weather["rabbitmq"].reset()
        try:
            yield
        finally:
            await world.grant(scene.place.broker)
        return
    await tables.run(world.postgres.dsn, f"ALTER ROLE {ROLE} NOLOGIN")
    world.weather["postgres"].reset()
    try:
        yield
    finally:
        await tables.run(world.postgres.dsn, f"ALTER ROLE {ROLE} LOGIN")


@asynccontextmanager
async def table_away(scene: Scene, fault: Fault) -> AsyncIterator[None]:
    """Rename a table away, and back later."""
    dsn, table = scene.place.tables.dsn, fault.record_kind
    await tables.run(dsn, f"ALTER TABLE {table} RENAME TO away")
    try:
        yield
    finally:
        await tables.run(dsn, f"ALTER TABLE away RENAME TO {table}")


@asynccontextmanager
async def disk_full(scene: Scene, fault: Fault) -> AsyncIterator[None]:
    """Leave PostgreSQL's tables no room."""
    try:
        await scene.world.disk.fill(scene.place.tables.dsn)
        yield
    finally:
        await scene.world.disk.empty(scene.place.tables.dsn)


@asynccontextmanager
async def read_only(scene: Scene, fault: Fault) -> AsyncIterator[None]:
    """Have PostgreSQL refuse writes, also to sessions that there are."""
    reload = "SELECT pg_reload_conf()"
    await tables.run(scene.world.postgres.dsn, "ALTER SYSTEM SET default_transaction_read_only = on", reload)
    try:
        yield
    finally:
        await tables.run(scene.world.postgres.dsn, "ALTER SYSTEM RESET default_transaction_read_only", reload)


@asynccontextmanager
async def memory_alarm_on(scene: Scene, fault: Fault) -> AsyncIterator[None]:
    """Have the broker block whoever publishes."""
    await memory_alarm(scene.world.rabbitmq, on=True)
    try:
        yield
    finally:
        await memory_alarm(scene.world.rabbitmq, on=False)
