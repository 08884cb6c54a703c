"""How a process reaches the model broker: it stands where `common.rabbitmq.access.BrokerAccess` does."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from common.errors import BrokerUnavailable
from common.kinds import Names, Service
from common.rabbitmq import topology
from common.rabbitmq.access import BrokerAccess
from common.rabbitmq.connection import Connection, close
from common.rabbitmq.consuming.fast.connection import FastConnection
from common.rabbitmq.topology import Declared
from tests.simulation.connection import ModelConnection
from tests.simulation.queues import Version

if TYPE_CHECKING:
    from tests.simulation.process import Life


class ModelAccess(BrokerAccess):
    """The model broker, for one life of a process."""

    def __init__(self, life: "Life") -> None:
        super().__init__(life.settings.broker)
        self._life = life

    @asynccontextmanager
    async def connected(self, *, name: str, make: type[Connection] = Connection) -> AsyncIterator[Any]:
        connection: Any = await self._connect(is_fast=issubclass(make, FastConnection))
        try:
            yield connection
        finally:
            await close(connection)

    async def open_channel(self, connection: Any) -> Any:
        await asyncio.sleep(connection.broker.latency)
        if connection.is_closed:
            raise BrokerUnavailable("RabbitMQ at model: connection closed")
        return connection.open_channel()

    async def declare(self, connection: Any, names: Names, service: Service, kind: str) -> Declared:
        """With the arguments that it would give."""
        arguments: dict[str, Any] = topology._queue(connection, names, service, kind).arguments
        broker = connection.broker
        limit = arguments.get("x-delivery-limit", broker.version.default_limit)
        # Before 4.0 a limit of -1 is not "none": the first return exceeds it.
        broker.queue(kind).limit = None if limit == -1 and broker.version is not Version.V3_10 else limit
        return Declared("quorum", [])

    async def declare_dead_letters(self, connection: Any, *_: object) -> None:
        connection.broker.confirming.is_routed = True

    async def _connect(self, *, is_fast: bool) -> ModelConnection:
        life, broker = self._life, self._life.world.broker
        await asyncio.sleep(broker.latency)
        if life.is_dead:
            await asyncio.get_running_loop().create_future()
        if broker.is_down:
            raise BrokerUnavailable("RabbitMQ at model: refused")
        connection = ModelConnection(broker, life, fast=is_fast)
        broker.connections.append(connection)
        life.connections.append(connection)
        return connection
