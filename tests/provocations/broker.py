"""A RabbitMQ that blocks publishers, slows them down, is about to, or is far."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from spindle.advice.limits import Limit
from tests.provocations.situations import TABLES, provoked
from tests.provocations.stage import Stage
from tests.servers.amqp import memory_alarm, rabbitmqctl
from tests.servers.servers import RabbitMQ

_NEAR, _ABOUT = 0.95, 0.02
"""Of the memory ceiling: the broker blocks above 1, and advice speaks from 0.9 on."""
_SAID = 5.5
"""Seconds from one thing that the broker's management says of its node to the next."""

_DEFAULT_CREDIT, _SMALL_CREDIT = "{400, 200}", "{2, 1}"


async def _node(stage: Stage, fact: Callable[[dict[str, float]], bool]) -> None:
    """Wait until the broker says so of its node, which it does every five seconds."""
    own = stage.servers.rabbitmq
    management = RabbitMQ(own.url, own.management_url)
    async with asyncio.timeout(30):
        while not fact((await asyncio.to_thread(management.api, "GET", "nodes"))[0]):
            await asyncio.sleep(0.2)


@provoked("vm_memory_high_watermark is set below what RabbitMQ uses", Limit.BROKER_ALARM, of=TABLES)
async def memory_alarm_on(stage: Stage) -> AsyncIterator[None]:
    """Publishers are blocked for want of memory."""
    await stage.start()
    stage.feed(rate=1_000)
    await stage.busy()
    await memory_alarm(stage.servers.rabbitmq, on=True)
    try:
        await _node(stage, lambda node: bool(node["mem_alarm"]))
        yield
    finally:
        await memory_alarm(stage.servers.rabbitmq, on=False)


@provoked("disk_free_limit is set above what is free", Limit.BROKER_ALARM, of=TABLES)
async def disk_alarm_on(stage: Stage) -> AsyncIterator[None]:
    """Publishers are blocked for want of disk."""
    await stage.start()
    stage.feed(rate=1_000)
    await stage.busy()
    await rabbitmqctl(stage.servers.rabbitmq, "set_disk_free_limit", "900000GB")
    try:
        await _node(stage, lambda node: bool(node["disk_free_alarm"]))
        yield
    finally:
        await rabbitmqctl(stage.servers.rabbitmq, "set_disk_free_limit", "50MB")


@provoked("vm_memory_high_watermark is set just above what RabbitMQ uses", Limit.MEMORY, of=TABLES)
async def memory_ceiling(stage: Stage) -> AsyncIterator[None]:
    """A little more, and publishers are blocked."""
    await stage.start()  # and nothing is published: what it uses then stays about the same
    own = stage.servers.rabbitmq
    await _node(stage, lambda node: "mem_used" in node)  # one that has just begun says nothing of itself yet
    try:
        async with asyncio.timeout(60):
            while True:
                [node] = await asyncio.to_thread(RabbitMQ(own.url, own.management_url).api, "GET", "nodes")
                if abs(node["mem_used"] / node["mem_limit"] - _NEAR) < _ABOUT:
                    break
                await rabbitmqctl(own, "set_vm_memory_high_watermark", "absolute", str(round(node["mem_used"] / _NEAR)))
                await asyncio.sleep(_SAID)
        yield
    finally:
        await memory_alarm(own, on=False)
        # Until the broker says so, the next situation would see what it said before.
        await _node(stage, lambda node: node["mem_used"] < node["mem_limit"] / 2)


async def _slowed(stage: Stage) -> None:
    """Wait until the broker says so of a connection, which it does every five seconds: before, advice can't see it."""
    own, vhost = stage.servers.rabbitmq, urlsplit(stage.broker.url).path[1:]
    management = RabbitMQ(own.url, own.management_url)
    for _ in range(150):
        connections = await asyncio.to_thread(management.api, "GET", f"vhosts/{vhost}/connections?columns=state")
        if "flow" in {each.get("state") for each in connections}:
            return
        await asyncio.sleep(0.2)
    raise TimeoutError("RabbitMQ has slowed no publisher down in 30 s")


@asynccontextmanager
async def _credit(stage: Stage, credit: str) -> AsyncIterator[None]:
    own = stage.servers.rabbitmq
    setting = "application:set_env(rabbit, credit_flow_default_credit, {})."
    await rabbitmqctl(own, "eval", setting.format(credit))
    try:
        yield
    finally:
        await rabbitmqctl(own, "eval", setting.format(_DEFAULT_CREDIT))


@provoked(
    "RabbitMQ gives a publisher credit for two messages at a time",
    Limit.FLOW_CONTROL,
    of=TABLES,
)
async def flow_control(stage: Stage) -> AsyncIterator[None]:
    """The broker slows a publisher down, and the service keeps up with what is left."""
    async with _credit(stage, _SMALL_CREDIT):
        await stage.start()
        feed = stage.feed(rate=1_000_000, burst=2_000, unconfirmed=20_000, same=True)
        await stage.busy(feed.size + 2_000)  # from then on nothing is to be written, and the service has little to do
        await _slowed(stage)
        yield


@provoked("a network of 1 MB a second between RabbitMQ and the service", Limit.NETWORK, of=TABLES)
async def distant_broker(stage: Stage) -> AsyncIterator[None]:
    """Records wait in the broker, and come slower than they could be written."""
    weather, behind = await stage.weather("rabbitmq")
    await stage.start(behind=behind)
    weather.bandwidth = 1_000_000.0
    stage.feed()
    await stage.busy()
    yield
