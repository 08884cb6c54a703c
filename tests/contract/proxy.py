"""A TCP proxy that fails on demand: between a real client and a real server, an outage without stopping the server.

async with cuttable_proxy("127.0.0.1", 5432) as proxy:
    connect(port=proxy.port)
    proxy.cut()       # ends every connection and refuses new ones
    proxy.freeze()    # keeps connections, passes nothing on: a peer that accepts and says nothing
    proxy.lose_answer_to(b"COMMIT")   # lets the next request that holds this through, and ends that connection
    proxy.fix()
    proxy.lead_to("127.0.0.1", 5433)  # new connections go there: a name that has moved
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
        self._fatal: bytes | None = None
        self._bytes_up = 0
        self.recorded_up: bytearray | None = None
        """Set to an empty one to have recorded what clients send."""
        self._passed_up = asyncio.Condition()
        self.port = 0

    def cut(self) -> None:
        """End every connection at once and every new one as soon as it comes."""
        self._cut = True
        for client in list(self._clients):
            client.transport.abort()

    def freeze(self) -> None:
        """Accept connections and keep them, but pass nothing on."""
        self._flowing.clear()

    def lose_answer_to(self, request: bytes) -> None:
        """Let the next request that holds these bytes reach the server, wait for its answer, and end the connection."""
        self._fatal = request

    def lead_to(self, host: str, port: int) -> None:
        """Lead new connections to another server; those that are stay where they are."""
        self._server_address = (host, port)

    def mend(self) -> None:
        """Let everything through again."""
        self._cut = False
        self._flowing.set()

    async def passed_up(self, size: int) -> None:
        """Wait until so many bytes have gone from clients to the server since the proxy was made."""
        async with self._passed_up:
            await self._passed_up.wait_for(lambda: self._bytes_up >= size)

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
            answers, server = await asyncio.open_connection(*self._server_address)
            doomed = asyncio.Event()
            try:
                async with asyncio.TaskGroup() as group:
                    up = group.create_task(self._pass_up(reader, server, doomed))
                    down = group.create_task(self._pass_down(answers, writer, doomed))
                    up.add_done_callback(lambda _: down.cancel())
                    down.add_done_callback(lambda _: up.cancel())
            finally:
                server.transport.abort()

    async def _pass_up(self, client: asyncio.StreamReader, server: asyncio.StreamWriter, doomed: asyncio.Event) -> None:
        with suppress(OSError):
            while chunk := await client.read(65536):
                if self.recorded_up is not None:
                    self.recorded_up += chunk
                await self._flowing.wait()
                if self._fatal is not None and self._fatal in chunk:
                    self._fatal = None
                    doomed.set()
                server.write(chunk)
                await server.drain()
                await self._count(len(chunk))

    async def _count(self, size: int) -> None:
        async with self._passed_up:
            self._bytes_up += size
            self._passed_up.notify_all()

    async def _pass_down(
        self, server: asyncio.StreamReader, client: asyncio.StreamWriter, doomed: asyncio.Event
    ) -> None:
        with suppress(OSError):
            while (chunk := await server.read(65536)) and not doomed.is_set():
                await self._flowing.wait()
                client.write(chunk)
                await client.drain()


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
