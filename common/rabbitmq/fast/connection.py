"""A connection of aiormq's whose deliveries do not go through aiormq."""

import asyncio
from typing import Any

import aiormq.connection
from aiormq.exceptions import AMQPConnectionError
from yarl import URL

from common.rabbitmq.connection import Connection, Transports
from common.rabbitmq.fast.wire import Wire


class _Wires(Transports):
    """Open sockets as aiormq does, but for what stands at our end."""

    wire: Wire

    async def create(self, url: URL, **options: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        certificates: aiormq.connection.SSLContextProvider = options.pop("ssl_context_provider")
        context = await certificates.get_context() if url.scheme == "amqps" else None
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(loop=loop)
        wire = self.wire = Wire(reader)
        host, port = url.host or "", url.port or 0  # aiormq has seen to the port
        try:
            transport, _ = await loop.create_connection(lambda: wire, host, port, ssl=context, **options)
        except OSError as error:
            raise AMQPConnectionError(*error.args) from error
        self.transport = transport
        return reader, asyncio.StreamWriter(transport, wire, reader, loop)


class FastConnection(Connection):
    """One connection for one consumer."""

    def __init__(self, url: URL, address: str) -> None:
        wires = _Wires()
        super().__init__(url, address, wires)
        self._wires = wires

    @property
    def wire(self) -> Wire:
        """The socket's end."""
        return self._wires.wire
