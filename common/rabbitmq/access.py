"""A broker, as a consumer reaches it: connections, channels, and what has to be there. A simulation gives its own."""

from contextlib import AbstractAsyncContextManager

from common.kinds import Names, Service
from common.rabbitmq.channel import Channel, open_channel
from common.rabbitmq.connection import Connection, connected
from common.rabbitmq.topology import Declared, declare, declare_dead_letters
from common.settings.programs import BrokerSettings


class BrokerAccess:
    """RabbitMQ at the place that the settings name. What its methods raise is what the functions of their names do."""

    def __init__(self, settings: BrokerSettings) -> None:
        self._settings = settings

    def connected(self, *, name: str, make: type[Connection] = Connection) -> AbstractAsyncContextManager[Connection]:
        """Hold a connection for as long as the block lasts."""
        return connected(self._settings, name=name, make=make)

    async def open_channel(self, connection: Connection) -> Channel:
        """Open a channel."""
        return await open_channel(connection)

    async def declare(self, connection: Connection, names: Names, service: Service, kind: str) -> Declared:
        """Declare everything that one consumer needs."""
        return await declare(connection, names, service, kind)

    async def declare_dead_letters(self, connection: Connection, names: Names, service: Service, kind: str) -> None:
        """Declare where the dead letters of one queue go."""
        await declare_dead_letters(connection, names, service, kind)
