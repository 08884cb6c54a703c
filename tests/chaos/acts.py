"""What the faults do: each begins when its block is entered and is over when the block is left."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from common.kinds import Service
from tests.chaos import operating, rivals, switchover
from tests.chaos.drawing import Fault, Kind
from tests.chaos.proxy import Weather
from tests.chaos.scene import Scene

_SLOWEST = 0.15
"""Seconds of latency."""
_NARROWEST, _WIDEST = 30_000.0, 300_000.0
"""Bytes a second."""

Act = Callable[[Scene, Fault], AbstractAsyncContextManager[None]]


def act(scene: Scene, fault: Fault) -> AbstractAsyncContextManager[None]:
    """The fault, to be entered. Raises, on entering: Skipped."""
    return _ACTS[fault.kind](scene, fault)


def touched(fault: Fault) -> list[str]:
    """Which servers and services no other fault may touch meanwhile; networks have none to themselves."""
    if fault.kind in _NETWORK:
        return []
    if fault.kind is Kind.TABLE_AWAY:
        return ["postgres", Service.TABLEINATOR]  # a service that starts would make the table again
    if fault.kind is Kind.QUEUE_DELETED:
        return sorted(["rabbitmq", fault.where])
    return [fault.where]


_NETWORK = (Kind.RESET, Kind.STALL, Kind.LATENCY, Kind.BANDWIDTH, Kind.HALF_OPEN)


def _weather(scene: Scene, fault: Fault) -> Weather:
    return scene.world.weather[fault.where]


@asynccontextmanager
async def _reset(scene: Scene, fault: Fault) -> AsyncIterator[None]:
    _weather(scene, fault).cut()
    try:
        yield
    finally:
        _weather(scene, fault).mend()


@asynccontextmanager
async def _stall(scene: Scene, fault: Fault) -> AsyncIterator[None]:
    _weather(scene, fault).freeze()
    try:
        yield
    finally:
        _weather(scene, fault).mend()


@asynccontextmanager
async def _latency(scene: Scene, fault: Fault) -> AsyncIterator[None]:
    _weather(scene, fault).latency = 0.01 + fault.strength * _SLOWEST
    try:
        yield
    finally:
        _weather(scene, fault).mend()


@asynccontextmanager
async def _bandwidth(scene: Scene, fault: Fault) -> AsyncIterator[None]:
    _weather(scene, fault).bandwidth = _WIDEST - fault.strength * (_WIDEST - _NARROWEST)
    try:
        yield
    finally:
        _weather(scene, fault).mend()


@asynccontextmanager
async def _half_open(scene: Scene, fault: Fault) -> AsyncIterator[None]:
    _weather(scene, fault).forget()  # for good: both ends must find out
    yield


@asynccontextmanager
async def _service_killed(scene: Scene, fault: Fault) -> AsyncIterator[None]:
    await scene.services[Service(fault.where)].kill()
    yield


@asynccontextmanager
async def _service_stopped(scene: Scene, fault: Fault) -> AsyncIterator[None]:
    await scene.services[Service(fault.where)].stop()
    yield


@asynccontextmanager
async def _server_killed(scene: Scene, fault: Fault) -> AsyncIterator[None]:
    async with _away(scene, fault, kill=True):
        yield


@asynccontextmanager
async def _server_restarted(scene: Scene, fault: Fault) -> AsyncIterator[None]:
    async with _away(scene, fault, kill=False):
        yield


@asynccontextmanager
async def _away(scene: Scene, fault: Fault, *, kill: bool) -> AsyncIterator[None]:
    server = scene.world.servers[fault.where]
    if fault.where == "rabbitmq":
        await scene.world.redeliveries.note()
        scene.world.redeliveries.begin_anew()
    await (server.kill() if kill else server.stop())
    try:
        yield
    finally:
        await asyncio.shield(server.start())
        if fault.where == "neo4j":
            await scene.place.graph.write_past_the_service()  # its first transaction takes seconds


_ACTS: dict[Kind, Act] = {
    Kind.RESET: _reset,
    Kind.STALL: _stall,
    Kind.LATENCY: _latency,
    Kind.BANDWIDTH: _bandwidth,
    Kind.HALF_OPEN: _half_open,
    Kind.SERVICE_KILLED: _service_killed,
    Kind.SERVICE_STOPPED: _service_stopped,
    Kind.SERVER_KILLED: _server_killed,
    Kind.SERVER_RESTARTED: _server_restarted,
    Kind.QUEUE_DELETED: operating.queue_deleted,
    Kind.CONNECTIONS_CLOSED: operating.connections_closed,
    Kind.LOGIN_REVOKED: operating.login_revoked,
    Kind.TABLE_AWAY: operating.table_away,
    Kind.DISK_FULL: operating.disk_full,
    Kind.READ_ONLY: operating.read_only,
    Kind.MEMORY_ALARM: operating.memory_alarm_on,
    Kind.DEADLOCKS: rivals.deadlocks,
    Kind.SWITCHOVER: switchover.switchover,
}
