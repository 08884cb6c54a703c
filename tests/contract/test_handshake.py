"""Connections that end while they are being opened, as they do before a broker that is not up yet."""

import asyncio
from typing import Any

import pytest
from yarl import URL

from common.errors import BrokerUnavailable
from common.rabbitmq.connection import Connection, Transports, connected
from tests.servers.amqp import settings, until


class _Unhurried(Transports):
    """Looks at what has come only when the peer has hung up, as a busy process does."""

    async def create(self, url: URL, **options: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await super().create(url, **options)
        await until(lambda: self.stream_end is not None and self.stream_end.has_ended)
        return reader, writer


class _Late(Connection):
    def __init__(self, url: URL, address: str) -> None:
        super().__init__(url, address, _Unhurried())


async def test_a_peer_that_hangs_up_before_it_has_said_anything_is_a_broker_that_is_unavailable() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]

        with pytest.raises(BrokerUnavailable, match=f"127.0.0.1:{port}: connection closed"):
            async with connected(settings(f"amqp://127.0.0.1:{port}/"), name="test", make=_Late):
                pass
