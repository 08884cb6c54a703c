"""Open PostgreSQL as the service's store: wait for it, see to its tables, keep a pool of one connection per writer."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

import asyncpg

from common.envelope import Projection
from common.errors import StartRefused
from common.progress import process_name
from common.storing.waiting import Wait, until_ready
from tableinator.classification import ERRORS, NotHeeded, NoWriter, about_tls, classify
from tableinator.connections import Connections
from tableinator.model import PROJECTION, Row
from tableinator.schema import prepare_tables
from tableinator.sessions import SERVICE
from tableinator.settings import PostgresSettings, TableinatorSettings
from tableinator.sink import TableSink
from tableinator.sqlstates import alarm_sentence

# Login, database, schema, what the tables are, what the server can do: no waiting fixes these, and the person who has
# just started the service is there to read it. While the service runs they are outages, with an alarm.
_NOT_AWAITED: Final = frozenset({"28", "3D", "3F", "42", "0A"})


class TableStore:
    """PostgreSQL, as the runtime sees a store."""

    name = PostgresSettings.store_name

    def __init__(self, connections: Connections, *, address: str, writers: int) -> None:
        self._connections = connections
        self._writers = writers
        self._process = process_name()
        self.address = address
        self.pool_size = connections.size

    def pool_in_use(self) -> int:
        """How many connections have a transaction under way."""
        return self._connections.in_use

    def slots(self, kind: str) -> asyncio.Semaphore:
        """A kind's share of the connections."""
        return asyncio.Semaphore(self._writers)

    def sink(self, kind: str) -> TableSink:
        """Where a kind's records go."""
        return TableSink(self._connections, kind, process=self._process)

    def projection(self, kind: str) -> Projection[Row]:
        """How a message becomes a row: the same for every kind, because the body is not looked into."""
        return PROJECTION


@asynccontextmanager
async def open_store(settings: TableinatorSettings) -> AsyncIterator[TableStore]:
    """Open the store, however long the server takes to come up.

    Raises: StartRefused if a person must fix something first.
    """
    size = len(settings.kinds) * settings.postgres.writers
    connections = Connections(settings.postgres, size=size, application=SERVICE)
    async with connections:
        await until_ready(
            partial(prepare_tables, connections, settings.kinds),
            store=TableStore.name,
            address=settings.postgres.address,
            errors=ERRORS,
            judge=partial(_judge, address=settings.postgres.address),
            backoff=settings.backoff,
        )
        yield TableStore(connections, address=settings.postgres.address, writers=settings.postgres.writers)


def _judge(error: Exception, address: str) -> Wait:
    """Why we wait.

    Raises: StartRefused if a person must fix something first.
    """
    if what := about_tls(error):
        raise StartRefused(f"PostgreSQL at {address} {what}.") from error
    if not _may_pass(error):
        raise _start_refused(error) from error
    return Wait(str(classify(error, alone=True)))


def _may_pass(error: Exception) -> bool:
    if isinstance(error, asyncpg.PostgresError):
        code = (error.sqlstate or "")[:2]
        return code not in _NOT_AWAITED and not (code == "08" and alarm_sentence(error))
    if isinstance(error, OSError):
        return not error.filename  # of ours: a server's absence has none
    return isinstance(error, asyncpg.InternalClientError | NoWriter)


def _start_refused(error: Exception) -> StartRefused:
    if isinstance(error, asyncpg.PostgresError | OSError | NotHeeded):
        problem = classify(error, alone=True)
        return StartRefused(str(getattr(problem, "alarm", None) or problem))
    return StartRefused(
        f"PostgreSQL can't be connected to with these settings: {error}; see POSTGRES_DSN and its parts."
    )
