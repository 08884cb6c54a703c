"""Put a service together: settings, store, broker, one pipeline per kind.

The only place that knows all the rooms. A service gives its settings and how to open its store; the rest is the same.
"""

import asyncio
import os
import platform
import random
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any, Protocol, TypeVar

import structlog

from common import VERSION
from common.batching.batch_size import LEAST
from common.dead_letters import DeadLetter
from common.envelope import Projection
from common.kinds import Service
from common.loads import Pause
from common.pipeline.pipeline import Pipeline
from common.quarantine.evidence import CREDIT
from common.rabbitmq.access import BrokerAccess
from common.rabbitmq.connection import ANSWER_TIMEOUT
from common.rabbitmq.consuming.fast.reader import FastReader
from common.rabbitmq.consuming.reading import AiormqReader, DeliveryReader
from common.rabbitmq.consuming.source import RabbitSource, Waits
from common.rabbitmq.publishing.dead_letters import DeadLetterPublisher
from common.service import Shutdown, start
from common.settings.programs import ConsumerProgramSettings, ConsumerSettings
from common.sink import Sink, StoreState
from common.storing.breaker import Breaker
from common.storing.idle import INTERVAL, ask_while_idle, made_up
from common.telemetry.health import Health
from common.telemetry.loop_lag import watch_loop
from common.telemetry.metrics import BUILD, KindMetrics, await_store, watch_store
from common.telemetry.tracing import Tracer, open_tracer

log = structlog.get_logger()

HOLD_TO_CONSUMER_TIMEOUT = 2
"""The hold limit is half of the broker's consumer timeout: time to hand back before it takes away."""

READERS: Mapping[str, type[DeliveryReader]] = {"aio-pika": AiormqReader, "fast": FastReader}
"""How deliveries are read, by the names of `RABBITMQ_SOURCE`."""

S = TypeVar("S", bound=ConsumerProgramSettings)


class Store(Protocol):
    """A database, as a service opens it."""

    @property
    def name(self) -> str:
        """Its name for logs, metrics and readiness."""

    @property
    def address(self) -> str:
        """Where it is, for the log."""

    @property
    def pool_size(self) -> int:
        """Connections at the most."""

    def pool_in_use(self) -> int:
        """Connections in use now."""

    def slots(self, kind: str) -> AbstractAsyncContextManager[None]:
        """As many as there may be transactions of this kind at a time; kinds may share them."""

    def sink(self, kind: str) -> Sink[Any]:
        """Where a kind's records go."""

    def projection(self, kind: str) -> Projection[Any]:
        """What a kind's sink needs of a message."""


OpenStore = Callable[[S], AbstractAsyncContextManager[Store]]
"""Connects, waiting while the server is not up; prepares the schema; raises StartRefused if that can't work."""


def run_consumer(service: Service, settings: type[S], open_store: OpenStore[S]) -> int:
    """Run a service until it is told to stop. Returns: its exit code."""

    async def consume(loaded: S, shutdown: Shutdown) -> None:
        await _consume(loaded, open_store, shutdown)

    return start(service, settings, consume, environ=os.environ)


async def _consume(settings: S, open_store: OpenStore[S], shutdown: Shutdown) -> None:
    _tell_settings(settings.consumer)
    tracer = open_tracer(settings.consumer)
    consumer = Consumer(settings.consumer, tracer=tracer)
    consumer.health.start(settings.metrics_host, settings.metrics_port)
    try:
        async with asyncio.TaskGroup() as around:
            watching = around.create_task(watch_loop(consumer.service, beat=consumer.health.beat), name="loop watch")
            async with open_store(settings) as store:
                asking = around.create_task(consumer.ask_while_idle(store), name="idle store")
                await consumer.run(store, shutdown)
                asking.cancel()
            if tracer is not None:
                await tracer.close()
            watching.cancel()
    finally:
        consumer.health.stop()


def _tell_settings(settings: ConsumerSettings) -> None:
    """Log what is in effect and decides how fast, how much at a time, and how long: one line, without a secret."""
    log.info(
        "Starting",
        version=VERSION,
        broker=settings.broker.address,
        source=settings.source,
        kinds=",".join(settings.kinds),
        batch_size=settings.batch_size,
        batch_max_bytes=settings.batch_max_bytes,
        batch_target_seconds=settings.batch_target,
        flush_interval=settings.flush_interval,
        writers=settings.writers,
        prefetch=settings.prefetch,
        source_max_bytes=settings.source_max_bytes,
        message_max_bytes=settings.message_max_bytes,
        hold_limit=settings.hold_limit,
        retry=str(settings.backoff),
        drain_limit=settings.drain_limit,
        dead_letter_flood=settings.dead_letter_flood,
        tracing_ratio=settings.tracing_ratio or 0.0,
    )


class Consumer:
    """A service's pipelines and what they share: one breaker, one way for dead letters."""

    def __init__(
        self,
        settings: ConsumerSettings,
        *,
        broker: BrokerAccess | None = None,
        tracer: Tracer | None = None,
        metrics: Callable[[Service, str], KindMetrics] = KindMetrics,
        rng: random.Random | None = None,
        least_batch: int = LEAST,
        credit: int = CREDIT,
    ) -> None:
        """`broker`, `metrics`, `rng`, `least_batch` and `credit` are for simulations."""
        self._settings, self._metrics = settings, metrics
        self._broker = broker or BrokerAccess(settings.broker)
        self._tracer = tracer
        self._rng, self._least_batch, self._credit = rng, least_batch, credit
        self.service = settings.service
        BUILD.labels(settings.service).info({"version": VERSION, "python": platform.python_version()})
        self.health = Health(settings.service, broker=self._connected, store=self._store, paused=self._paused)
        self._breaker: Breaker | None = None
        self._store_name = settings.store_name
        self._sources: dict[str, RabbitSource] = {}
        self._pipelines: dict[str, Pipeline[Any]] = {}
        # Before anything is waited for: a service that begins while its store is away is not one without a store.
        await_store(settings.service, settings.store_name)
        for kind in settings.kinds:
            metrics(self.service, kind).begin(writers=settings.writers, consumer_timeout=self._consumer_timeout)

    async def run(self, store: Store, shutdown: Shutdown) -> None:
        """Carry records until the stop is asked for and everything is drained.

        Raises: an ExceptionGroup with whatever ended a pipeline.
        """
        settings = self._settings
        watch_store(self.service, in_use=store.pool_in_use, size=store.pool_size)
        self._breaker = breaker = Breaker(
            service=self.service, store=store.name, address=store.address, backoff=settings.backoff, rng=self._rng
        )
        letters = DeadLetterPublisher(
            self._broker, settings.names, self.service, on_confirmed=self._confirmed, backoff=settings.backoff
        )
        for kind in settings.kinds:
            self._add_pipeline(kind, store, breaker, letters)
        shutdown.on_stop(partial(self._stop, breaker))
        async with asyncio.TaskGroup() as around:
            beside = (
                around.create_task(letters.run(), name="dead letters"),
                around.create_task(breaker.run(), name="breaker"),
            )
            async with asyncio.TaskGroup() as flow:
                for kind, pipeline in self._pipelines.items():
                    flow.create_task(pipeline.run(), name=kind)
            for task in beside:
                task.cancel()

    async def ask_while_idle(self, store: Store) -> None:
        """See forever whether the store is there, also while no record comes."""
        records = {kind: made_up(store.projection(kind)) for kind in self._settings.kinds}

        async def ask(kind: str) -> None:
            await self._pipelines[kind].ask_store(records[kind])

        await ask_while_idle([partial(ask, kind) for kind in records], is_idle=self._is_idle)

    def _is_idle(self) -> bool:
        """Whether nothing is heard of the store: also while deliveries wait for something else, such as a confirm."""
        now = asyncio.get_running_loop().time()
        return self._breaker is not None and bool(self._pipelines) and now - self._breaker.heard_at >= INTERVAL

    def _add_pipeline(self, kind: str, store: Store, breaker: Breaker, letters: DeadLetterPublisher) -> None:
        settings = self._settings
        metrics = self._metrics(self.service, kind)
        source = RabbitSource(
            self._broker,
            settings.names,
            self.service,
            kind,
            prefetch=settings.prefetch,
            max_bytes=settings.source_max_bytes,
            consumer_timeout=self._consumer_timeout,
            metrics=metrics,
            reader=READERS[settings.source],
            # In the other half nothing new is begun: a broker that says nothing must not make of a drain a failure.
            waits=Waits(cancel=min(ANSWER_TIMEOUT, settings.drain_limit / 2), backoff=settings.backoff),
        )
        self._sources[kind] = source
        self._pipelines[kind] = Pipeline(
            settings,
            source=source,
            project=store.projection(kind),
            sink=store.sink(kind),
            breaker=breaker,
            dead_letters=letters,
            metrics=metrics,
            slots=store.slots(kind),
            least_batch=self._least_batch,
            credit=self._credit,
            tracer=self._tracer,
        )
        metrics.watch(source)

    @property
    def _consumer_timeout(self) -> float:
        return HOLD_TO_CONSUMER_TIMEOUT * self._settings.hold_limit

    def _confirmed(self, letter: DeadLetter) -> None:
        self._pipelines[letter.kind].confirmed(letter)

    def _stop(self, breaker: Breaker) -> None:
        self.health.drain()
        if self._tracer is not None:
            self._tracer.drain(self._settings.drain_limit)
        for source in self._sources.values():
            source.stop()
        breaker.stop()

    # What readiness reads, from another thread.

    def _connected(self) -> Mapping[str, bool]:
        paused = self._paused()
        return {
            kind: kind in paused or (kind in self._sources and self._sources[kind].connected)
            for kind in self._settings.kinds
        }

    def _paused(self) -> Mapping[str, Pause]:
        found = ((kind, pipeline.bookkeeper.pause) for kind, pipeline in list(self._pipelines.items()))
        return {kind: pause for kind, pause in found if pause is not None}

    def _store(self) -> StoreState:
        if self._breaker is None:
            return StoreState(self._store_name, available=False, detail="not connected yet")
        return self._breaker.state
