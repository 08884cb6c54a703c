"""Neo4j as graphinator opens it: connected, of a version that will do, with its constraints in place."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any

import structlog
from neo4j import AsyncDriver, AsyncGraphDatabase, NotificationMinimumSeverity
from neo4j.exceptions import ClientError, ConfigurationError, DriverError, Neo4jError

from common.envelope import Projection
from common.errors import StartRefused, StoreUnavailable
from common.kinds import Service
from common.progress import process_name
from common.settings.certificates import settings_context, what_is_wrong
from common.storing.waiting import Wait, until_ready
from graphinator.addresses import resolver
from graphinator.classification import LOCKED_OUT_PAUSE, PEER, classify
from graphinator.kind_lock import KindLock
from graphinator.login import Login
from graphinator.projection import DecodedRecord, projection_of
from graphinator.schema import check_version, create_schema
from graphinator.settings import GraphinatorSettings, Neo4jSettings
from graphinator.sink import GraphSink
from graphinator.transactions import Transactions

log = structlog.get_logger()

# A connection that nobody has used for so long is asked whether it still lives: firewalls forget silent ones.
_IDLE_SECONDS = 30.0
# No connection gets older, used or not: the name in the URI may lead to another server by now.
_LIFETIME_SECONDS = 300.0
_FOR_THE_LEDGER = 1  # connection beside those of the writers
_CLOSING_SECONDS = 2.0  # for saying goodbye: a drain has 8 for everything
_SCHEMA_SECONDS = 360.0  # beyond what the server is given for its indexes


class GraphStore:
    """The graph, for the runtime."""

    name = Neo4jSettings.store_name

    def __init__(self, transactions: Transactions, *, address: str, writers: int) -> None:
        self._transactions = transactions
        self.address = address
        self.pool_size = writers + _FOR_THE_LEDGER
        self._desk = asyncio.Semaphore(_FOR_THE_LEDGER)
        self._process = process_name()
        self._turns = KindLock(writers)

    def pool_in_use(self) -> int:
        """Transactions that run now; each has a connection of its own."""
        return self._transactions.in_use

    def slots(self, kind: str) -> AbstractAsyncContextManager[None]:
        """All kinds share the connections: those that write at the same time get into each other's locks."""
        return self._turns.of(kind)

    def sink(self, kind: str) -> GraphSink:
        """Where a kind's records go."""
        return GraphSink(kind, self._transactions, process=self._process, desk=self._desk)

    def projection(self, kind: str) -> Projection[DecodedRecord]:
        """What a kind's sink takes of a message."""
        return projection_of(kind)


@asynccontextmanager
async def open_store(settings: GraphinatorSettings) -> AsyncIterator[GraphStore]:
    """Connect, however long that takes, and create the schema.

    Raises: StartRefused if waiting would not help.
    """
    neo4j = settings.neo4j
    login = Login(neo4j)
    async with open_driver(neo4j, login) as driver:
        await until_ready(
            partial(_prepare, driver, neo4j),
            store=GraphStore.name,
            address=neo4j.address,
            errors=(Neo4jError, DriverError, OSError),
            judge=partial(_judge, settings=neo4j),
            backoff=settings.backoff,
        )
        transactions = Transactions(
            driver,
            database=neo4j.database,
            connect_timeout=neo4j.connect_timeout,
            transaction_timeout=neo4j.transaction_timeout,
            login=login,
            application=str(Service.GRAPHINATOR),
        )
        yield GraphStore(transactions, address=neo4j.address, writers=neo4j.writers)


@asynccontextmanager
async def open_driver(settings: Neo4jSettings, login: Login | None = None) -> AsyncIterator[AsyncDriver]:
    """Make a driver with as many connections as there are writers; it connects when it is first used.

    Raises: StartRefused if the URI can't be one, or a certificate's file is not what it should be.
    """
    context = await asyncio.to_thread(settings_context, settings, PEER)
    # Named only if there is one: beside bolt+s:// the driver refuses even None.
    encryption: dict[str, Any] = {"ssl_context": context} if context else {}
    try:
        driver = AsyncGraphDatabase.driver(
            settings.uri,
            auth=login or Login(settings),
            max_connection_pool_size=settings.writers + _FOR_THE_LEDGER,
            connection_timeout=settings.connect_timeout,
            connection_acquisition_timeout=settings.connect_timeout,
            resolver=resolver(timeout=settings.connect_timeout, tls=context or settings.has_tls),
            liveness_check_timeout=_IDLE_SECONDS,
            max_connection_lifetime=_LIFETIME_SECONDS,
            notifications_min_severity=NotificationMinimumSeverity.OFF,  # nobody reads them, and they cost a plan
            telemetry_disabled=True,
            **encryption,
        )
    except (DriverError, ValueError) as error:
        raise StartRefused(f"NEO4J_URI is {settings.uri!r}, which can't be used: {error}") from error
    try:
        yield driver
    finally:
        await _close(driver)


async def _close(driver: AsyncDriver) -> None:
    """Say goodbye; a server that does not take it is left without."""
    try:
        async with asyncio.timeout(_CLOSING_SECONDS):
            await driver.close()
    except (DriverError, OSError) as error:
        log.debug("Neo4j did not close in time, left", error=type(error).__name__)


async def _prepare(driver: AsyncDriver, settings: Neo4jSettings) -> None:
    """See that the server can be used, and create the schema."""
    async with asyncio.timeout(settings.connect_timeout):
        await check_version(driver)
    async with asyncio.timeout(_SCHEMA_SECONDS):
        await create_schema(driver, settings.database)


def _judge(error: Exception, settings: Neo4jSettings) -> Wait:
    """Why we wait, and for how long if the server has locked us out.

    Raises: StartRefused if that would change nothing.
    """
    if what := what_is_wrong(error, PEER):
        raise StartRefused(f"Neo4j at {settings.address} {what}.") from error
    meaning = classify(error)
    is_locked_out = isinstance(error, Neo4jError) and (error.code or "").endswith("AuthenticationRateLimit")
    # At the start there is nothing to hold, so what a person must fix is said at once; a server that is just
    # starting answers with TransientErrors. Trying a wrong password again would lock the right one out.
    needs_a_person = isinstance(error, ClientError | ConfigurationError) and not is_locked_out
    if needs_a_person and isinstance(meaning, StoreUnavailable) and meaning.alarm:
        raise StartRefused(f"{meaning.alarm}.") from error
    # A server without TLS hangs up without a word, as one does that is just starting.
    hint = "; TLS is asked for: does it speak TLS on this port?" if settings.has_tls else ""
    pause = random.uniform(*LOCKED_OUT_PAUSE) if is_locked_out else None  # noqa: S311 - jitter, not a secret
    return Wait(f"{meaning}{hint}", pause)
