"""The test's own side of a broker: publish to it, look into it, break it."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from aiormq.abc import ChannelFrame, DeliveredMessage
from pamqp.commands import Basic
from pydantic import SecretStr

from common.delivery import Properties
from common.kinds import Names
from common.rabbitmq.channel import open_channel
from common.rabbitmq.connection import Connection, connected
from common.rabbitmq.frames import content_frames, publish_frame
from common.rabbitmq.topology import queue_lengths
from common.settings.programs import BrokerSettings
from tests.contract.proxy import Proxy, cuttable_proxy
from tests.servers.brokers import native_broker
from tests.servers.native import OwnRabbitMQ


def settings(url: str, **more: Any) -> BrokerSettings:
    """What a service would have read from its environment."""
    return BrokerSettings(url=SecretStr(url), **{"connect_timeout": 5.0, "heartbeat": 10, **more})


def new_names() -> Names:
    """Names that no other test has."""
    return Names(f"test-{secrets.token_hex(4)}")


async def until(fact: Callable[[], object], seconds: float = 30.0) -> None:
    """Wait for something that the broker decides."""
    async with asyncio.timeout(seconds):
        while not fact():
            await asyncio.sleep(0.01)


async def rabbitmqctl(server: OwnRabbitMQ, *arguments: str) -> None:
    """Do what an operator would on the broker's machine."""
    await asyncio.to_thread(native_broker(server.member.place).rabbitmqctl, *arguments)


async def memory_alarm(server: OwnRabbitMQ, *, on: bool) -> None:
    """Have a broker block publishers, or let them go on."""
    server.is_alarmed = True
    await rabbitmqctl(server, "set_vm_memory_high_watermark", "0.00001" if on else "0.4")
    server.is_alarmed = on


@asynccontextmanager
async def proxied(url: str) -> AsyncIterator[tuple[str, Proxy]]:
    """The same broker behind a proxy that can be cut."""
    parts = urlsplit(url)
    async with cuttable_proxy(parts.hostname or "127.0.0.1", parts.port or 5672) as proxy:
        netloc = f"{parts.netloc.rpartition('@')[0]}@127.0.0.1:{proxy.port}"
        yield urlunsplit(parts._replace(netloc=netloc)), proxy


class Peer:
    """A client that shares nothing with what is tested but the connection class."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    async def publish(
        self, exchange: str, *bodies: bytes, headers: Mapping[str, Any] | None = None, **properties: Any
    ) -> None:
        """Publish, and wait for the confirms."""
        channel = await self.connection.channel()
        for body in bodies:
            await channel.basic_publish(
                body,
                exchange=exchange,
                mandatory=True,
                properties=Basic.Properties(headers=dict(headers or {}), **properties),
            )
        await channel.close()

    async def publish_odd(
        self, exchange: str, body: bytes, headers: Mapping[str, Any], odd: Mapping[bytes, bytes]
    ) -> None:
        """Publish a message with some bytes of its header replaced by as many others; wait for the confirm."""
        channel = await open_channel(self.connection)
        await channel.confirm_delivery()
        taken = asyncio.Event()
        channel.on_confirm = lambda *_: taken.set()
        content = content_frames(channel.number, Properties(headers=headers), body, frame_max=131_072)
        for mark, raw in odd.items():
            assert (content.count(mark), len(mark)) == (1, len(raw))
            content = content.replace(mark, raw)
        await channel.write_queue.put(
            ChannelFrame(publish_frame(channel.number, exchange) + content, should_close=False)
        )
        async with asyncio.timeout(15.0):
            await taken.wait()
        await channel.close()

    async def ready(self, queue: str) -> int | None:
        """How many messages wait in a queue."""
        return (await queue_lengths(self.connection, [queue]))[queue]

    async def declare_queue(self, queue: str, arguments: Mapping[str, Any] | None = None, **flags: Any) -> None:
        """Declare a queue, durable unless told otherwise."""
        channel = await self.connection.channel(publisher_confirms=False)
        await channel.queue_declare(queue, **{"durable": True, **flags}, arguments=dict(arguments or {}))
        await channel.close()

    async def declare_exchange(self, exchange: str, kind: str = "fanout", **more: Any) -> None:
        """Declare an exchange, durable unless told otherwise."""
        channel = await self.connection.channel(publisher_confirms=False)
        await channel.exchange_declare(exchange, exchange_type=kind, **{"durable": True, **more})
        await channel.close()

    async def bind(self, queue: str, exchange: str) -> None:
        """Bind a queue."""
        channel = await self.connection.channel(publisher_confirms=False)
        await channel.queue_bind(queue, exchange)
        await channel.close()

    async def delete_queue(self, queue: str) -> None:
        """Delete a queue with all that is in it."""
        channel = await self.connection.channel(publisher_confirms=False)
        await channel.queue_delete(queue)
        await channel.close()

    async def delete_exchange(self, exchange: str) -> None:
        """Delete an exchange."""
        channel = await self.connection.channel(publisher_confirms=False)
        await channel.exchange_delete(exchange)
        await channel.close()

    async def get_all(self, queue: str) -> list[DeliveredMessage]:
        """Take everything that waits in a queue."""
        channel = await self.connection.channel(publisher_confirms=False)
        messages = []
        while True:
            message = await channel.basic_get(queue, no_ack=True)
            if not isinstance(message.delivery, Basic.GetOk):
                break
            messages.append(message)
        await channel.close()
        return messages


def nested(levels: int) -> tuple[dict[str, Any], dict[bytes, bytes]]:
    """A header `deep` that is a table in a table in a table: what to write, and what to replace in it."""
    content = b""
    for _ in range(levels - 1):
        content = b"\x01tF" + len(content).to_bytes(4, "big") + content
    text = "x" * len(content)
    length = len(content).to_bytes(4, "big")
    return {"deep": text}, {b"S" + length + text.encode(): b"F" + length + content}


@asynccontextmanager
async def peer_of(url: str) -> AsyncIterator[Peer]:
    """Connect a peer."""
    async with connected(settings(url), name="test") as connection:
        yield Peer(connection)
