"""The fast reader's connection on a real broker: logging in, heartbeats, reasons, and broken bytes."""

import asyncio
import base64
import socket
import urllib.request
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

import pytest
from structlog.testing import capture_logs

from common.errors import StartRefused
from common.kinds import Names, Service
from common.rabbitmq.access import BrokerAccess
from common.rabbitmq.consuming.fast.reader import FastReader
from common.rabbitmq.consuming.source import RabbitSource
from common.telemetry.metrics import KindMetrics
from tests.contract.source import PATIENCE, messages, running, take, until
from tests.servers.amqp import new_names, peer_of, proxied, settings
from tests.servers.servers import RabbitMQ

KIND, SERVICE = "labels", Service.TABLEINATOR


def source_at(url: str, names: Names | None = None, **more: Any) -> RabbitSource:
    """A source on a queue of its own."""
    return RabbitSource(
        BrokerAccess(settings(url, **more)),
        names or new_names(),
        SERVICE,
        KIND,
        prefetch=100,
        max_bytes=2**20,
        consumer_timeout=1800.0,
        metrics=KindMetrics(SERVICE, KIND),
        reader=FastReader,
    )


def changed(url: str, **parts: str) -> str:
    """The URL with another login, address or path."""
    split = urlsplit(url)
    login, _, place = split.netloc.rpartition("@")
    netloc = f"{parts.pop('login', login)}@{parts.pop('place', place)}"
    return urlunsplit(split._replace(netloc=netloc, **parts))


async def refusal(url: str) -> str:
    """The sentence with which a source refuses to start."""
    with pytest.raises(ExceptionGroup) as refused:
        async with asyncio.timeout(PATIENCE):
            await source_at(url).run()
    (error,) = refused.value.exceptions
    assert isinstance(error, StartRefused)
    return str(error)


async def test_a_refused_login_ends_the_start_and_is_not_repeated(rabbitmq: RabbitMQ) -> None:
    sentence = await refusal(changed(rabbitmq.url, login="nobody:secret-word"))

    assert "refused the login" in sentence
    assert "secret-word" not in sentence


async def test_a_missing_vhost_ends_the_start(rabbitmq: RabbitMQ) -> None:
    assert "no-such-vhost" in await refusal(changed(rabbitmq.url, path="/no-such-vhost"))


async def test_a_peer_that_speaks_something_else_is_waited_for() -> None:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    source = source_at(f"amqp://me:secret-word@127.0.0.1:{server.sockets[0].getsockname()[1]}/")

    with capture_logs() as lines:
        async with server, asyncio.timeout(PATIENCE), asyncio.TaskGroup() as tasks:
            tasks.create_task(source.run())
            await until(lambda: any(line["event"] == "Broker unavailable" for line in lines))
            await source.close()

    assert "not a frame" in str(lines)
    assert "secret-word" not in str(lines)


async def test_the_next_address_is_tried_where_one_does_not_answer(rabbitmq: RabbitMQ) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        place = urlsplit(rabbitmq.url).netloc.rpartition("@")[2]
        url = changed(rabbitmq.url, place=f"127.0.0.1:{closed.getsockname()[1]},{place}")
        for _ in range(4):  # in random order
            async with running(source_at(url)):
                pass


# Heartbeats.


async def test_a_broker_silent_for_two_heartbeats_is_lost(rabbitmq: RabbitMQ) -> None:
    loop = asyncio.get_running_loop()
    async with proxied(rabbitmq.url) as (url, proxy), running(source_at(url, heartbeat=1)) as source:
        with capture_logs() as lines:
            proxy.freeze()
            began = loop.time()
            await until(lambda: not source.connected)
            silent = loop.time() - began
            await until(lambda: any(line["event"] == "Consumer lost" for line in lines))
        proxy.mend()
        await until(lambda: source.connected)

    assert 1.0 < silent < 3.5
    assert "nothing heard" in str(lines)


async def test_heartbeats_keep_an_idle_connection(rabbitmq: RabbitMQ) -> None:
    """Fault 49."""
    names = new_names()
    async with running(source_at(rabbitmq.url, names, heartbeat=1)) as source, peer_of(rabbitmq.url) as peer:
        await asyncio.sleep(7.5)  # aiormq would give up after 6 s without one, the broker after 2
        await peer.publish(names.exchange(KIND), *messages(1))

        (delivery,) = await take(source, 1)

    assert delivery.epoch.number == 1


async def test_a_stream_of_deliveries_without_heartbeats_is_a_sign_of_life(rabbitmq: RabbitMQ) -> None:
    names, loop = new_names(), asyncio.get_running_loop()
    epochs = set()
    async with running(source_at(rabbitmq.url, names, heartbeat=1)) as source, peer_of(rabbitmq.url) as peer:
        ends = loop.time() + 7.5
        while loop.time() < ends:
            await peer.publish(names.exchange(KIND), *messages(20))
            deliveries = await take(source, 20)
            epochs |= {delivery.epoch.number for delivery in deliveries}
            source.settle(deliveries)

    assert epochs == {1}


# Reasons.


async def test_the_reason_for_a_closed_connection_is_told(rabbitmq: RabbitMQ) -> None:
    names = new_names()
    async with running(source_at(rabbitmq.url, names)) as source:
        with capture_logs() as lines:
            await close_connections(rabbitmq, f"spindle {SERVICE} {KIND}", reason="mind the gap")
            await until(lambda: any(line["event"] == "Consumer lost" for line in lines))
        await until(lambda: source.connected)

    assert "mind the gap" in str(lines)


async def close_connections(rabbitmq: RabbitMQ, name: str, *, reason: str) -> None:
    """Have the broker close connections of this name, as an operator does; it takes seconds until it knows them."""
    async with asyncio.timeout(20.0):
        found: list[Any] = []
        while not found:
            await asyncio.sleep(0.2)
            connections = await asyncio.to_thread(rabbitmq.api, "GET", "connections")
            vhost = urlsplit(rabbitmq.url).path.strip("/")
            found = [
                each for each in connections if each.get("user_provided_name") == name and each.get("vhost") == vhost
            ]
    for connection in found:
        await asyncio.to_thread(close_connection, rabbitmq, connection["name"], reason)


def close_connection(rabbitmq: RabbitMQ, name: str, reason: str) -> None:
    """Close one connection."""
    split = urlsplit(rabbitmq.url)
    login = base64.b64encode(f"{split.username}:{split.password}".encode()).decode()
    request = urllib.request.Request(
        f"{rabbitmq.management_url}/api/connections/{quote(name, safe='')}",
        method="DELETE",
        headers={"Authorization": f"Basic {login}", "X-Reason": reason},
    )
    urllib.request.urlopen(request, timeout=10.0).close()
