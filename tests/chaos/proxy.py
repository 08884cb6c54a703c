"""The network between services and one server, with weather: slow, narrow, or gone without a word."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from tests.contract.proxy import Proxy


class Weather(Proxy):
    """A proxy that can also delay, choke, and forget connections while both ends hold them open."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(host, port)
        self.latency = 0.0
        """Seconds by which each piece is late, either way."""
        self.bandwidth = 0.0
        """Bytes a second for each direction of a connection; 0: no limit."""
        self._age = 0

    def forget(self) -> None:
        """Pass nothing more on of the connections that there are; new ones are as good as any."""
        self._age += 1

    def reset(self) -> None:
        """End every connection, the forgotten ones too; new ones are accepted."""
        self.cut()
        self.mend()

    def mend(self) -> None:
        """Let everything through again, but of forgotten connections."""
        super().mend()
        self.latency = self.bandwidth = 0.0

    async def _pass_up(self, client: asyncio.StreamReader, server: asyncio.StreamWriter, doomed: asyncio.Event) -> None:
        await self._pass(client, server)

    async def _pass_down(
        self, server: asyncio.StreamReader, client: asyncio.StreamWriter, doomed: asyncio.Event
    ) -> None:
        await self._pass(server, client)

    async def _pass(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        born = self._age
        with suppress(OSError):
            while chunk := await source.read(16384):
                await self._flowing.wait()
                await self._delay(len(chunk))
                if born == self._age:
                    sink.write(chunk)
                    await sink.drain()

    async def _delay(self, size: int) -> None:
        seconds = self.latency + (size / self.bandwidth if self.bandwidth else 0.0)
        if seconds:
            await asyncio.sleep(seconds)


@asynccontextmanager
async def weather_before(host: str, port: int) -> AsyncIterator[Weather]:
    """Run such a network before a server, on a free port of this machine."""
    proxy = Weather(host, port)
    server = await asyncio.start_server(proxy.connect, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        proxy.cut()
