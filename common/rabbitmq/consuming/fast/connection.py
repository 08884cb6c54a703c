"""A connection of aiormq's whose deliveries do not go through aiormq."""

import asyncio
from typing import Any

from yarl import URL

from common.rabbitmq.connection import Connection, Stream, Transports
from common.rabbitmq.consuming.fast.protocol import Wire


class _Wires(Transports):
    """Open sockets as aiormq does, but for what stands at our end."""

    wire: Wire

    async def create(self, url: URL, **options: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader = Stream(loop=asyncio.get_running_loop())
        self.wire = Wire(reader)
        return reader, await self._open(url, reader, self.wire, **options)


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
