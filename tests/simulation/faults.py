"""What the steps of a story do to the world."""

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from common.loads import Pause
from tests.simulation.confirming import Confirms
from tests.simulation.connection import HEARTBEAT
from tests.simulation.messages import Message
from tests.simulation.store import Mood

if TYPE_CHECKING:
    from tests.simulation.channel import ModelChannel
    from tests.simulation.connection import ModelConnection
    from tests.simulation.world import World

_SOME_DAY = datetime(2026, 1, 1, tzinfo=UTC)


class Faults:
    """A method for each sort of step."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._loop = asyncio.get_running_loop()
        self._stalled: list[ModelConnection] = []

    async def publish(self, messages: tuple[Message, ...]) -> None:
        world = self._world
        world.published.add(messages)
        for kind in {message.kind: None for message in messages}:
            world.broker.queue(kind).publish([message for message in messages if message.kind == kind])

    async def wait(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    # The store

    async def store(self, mood: dict[str, Any]) -> None:
        self._world.turn_store(Mood(**mood))

    # The way from the broker

    async def lose_channel(self, which: int) -> None:
        for channel in self._channel(which):
            self._world.broker.close_channel(channel, "internal error")

    async def lose_connection(self, which: int, noticed_after: float) -> None:
        for channel in self._channel(which):
            channel.was_disturbed = True
            channel.connection.lose("connection reset", noticed_after=noticed_after)

    async def cancel_consumer(self, which: int) -> None:
        for channel in self._channel(which):
            self._world.broker.cancel_consumer(channel)

    async def time_out(self, which: int) -> None:
        for channel in self._channel(which):
            channel.was_disturbed = True
            if channel.consumer is not None and channel.consumer.is_active:
                channel.timed_out(channel.consumer)

    async def stall(self, which: int, seconds: float) -> None:
        for channel in self._channel(which):
            connection = channel.connection
            channel.was_disturbed = True
            connection.to_broker.hold()
            connection.to_client.hold()
            if seconds > HEARTBEAT:
                self._loop.call_later(HEARTBEAT, connection.lose, "heartbeat missed")
            self._stalled.append(connection)
            self._loop.call_later(seconds, self.let_go)

    async def restart_broker(self, seconds: float) -> None:
        broker = self._world.broker
        broker.is_down = True
        for connection in list(broker.connections):
            for channel in connection.channels:
                channel.was_disturbed = True
            connection.lose("broker stopped")
        await asyncio.sleep(seconds)
        broker.is_down = False

    # Dead letters

    async def confirm(self, mood: Confirms) -> None:
        self._world.broker.confirming.turn(mood)

    async def block(self) -> None:
        self._world.broker.confirming.block()

    async def unblock(self) -> None:
        self._world.broker.confirming.unblock()

    async def unroute(self) -> None:
        self._world.broker.confirming.is_routed = False

    async def lose_letters(self) -> None:
        for connection in list(self._world.broker.connections):
            if any(channel.published for channel in connection.channels):
                connection.lose("connection reset")

    # The operator

    async def pause(self, kind: str) -> None:
        self._world.store.paused[kind] = Pause(kind=kind, since=_SOME_DAY, by="operator")
        self._world.checks.paused(kind)

    async def resume(self, kind: str) -> None:
        self._world.store.paused.pop(kind, None)
        self._world.checks.resumed(kind)

    # Processes

    async def stop(self, which: int, pause: float) -> None:
        process = self._world.processes[which % len(self._world.processes)]
        process.restarts_after = pause
        process.stop()

    async def kill(self, which: int, pause: float) -> None:
        process = self._world.processes[which % len(self._world.processes)]
        process.restarts_after = pause
        process.kill()

    def _channel(self, which: int) -> "list[ModelChannel]":
        consuming = self._world.broker.consuming()
        return consuming[which % len(consuming) :][:1] if consuming else []

    def let_go(self) -> None:
        """Let what was stalled go on."""
        stalled, self._stalled = self._stalled, []
        for connection in stalled:
            connection.to_broker.let_go()
            connection.to_client.let_go()
