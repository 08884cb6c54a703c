"""A TCP proxy that can be cut: between a real client and a real server, an outage without stopping the server.

async with cuttable_proxy("127.0.0.1", 5432) as proxy:
    connect(port=proxy.port)
    proxy.cut()       # ends every connection and refuses new ones
    proxy.freeze()    # keeps connections, passes nothing on: a peer that accepts and says nothing
    proxy.mend()
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class Proxy:
    """Passes bytes both ways between clients and one server, until it is told otherwise."""

    def __init__(self, host: str, port: int) -> None:
        self._server_address = (host, port)
        self._clients: set[asyncio.StreamWriter] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._cut = False
        self.port = 0

    def cut(self) -> None:
        """End every connection at once and every new one as soon as it comes."""
        self._cut = True
        for client in list(self._clients):
            client.transport.abort()

    def freeze(self) -> None:
        """Accept connections and keep them, but pass nothing on."""
        self._flowing.clear()

    def mend(self) -> None:
        """Let everything through again."""
        self._cut = False
        self._flowing.set()

    async def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client until either side ends."""
        if self._cut:
            writer.transport.abort()
            return
        self._clients.add(writer)
        try:
            await self._join(reader, writer)
        finally:
            self._clients.discard(writer)
            writer.transport.abort()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            to_server = await asyncio.open_connection(*self._server_address)
            try:
                async with asyncio.TaskGroup() as group:
                    up = group.create_task(self._pass_on(reader, to_server[1]))
                    down = group.create_task(self._pass_on(to_server[0], writer))
                    up.add_done_callback(lambda _: down.cancel())
                    down.add_done_callback(lambda _: up.cancel())
            finally:
                to_server[1].transport.abort()

    async def _pass_on(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while chunk := await source.read(65536):
                await self._flowing.wait()
                target.write(chunk)
                await target.drain()


@asynccontextmanager
async def cuttable_proxy(host: str, port: int) -> AsyncIterator[Proxy]:
    """Run a proxy to a server on a free port of this machine."""
    proxy = Proxy(host, port)
    server = await asyncio.start_server(proxy.connect, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        proxy.cut()
