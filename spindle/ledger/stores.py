"""Ask both stores' ledgers, one beside the other."""

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, replace

from common.errors import SinkError
from common.kinds import Service
from common.loads import Load, LoadErrors, Pause
from common.settings.environment import load as load_settings
from graphinator.ops import ledger as of_graph
from graphinator.settings import Neo4jSettings
from tableinator.ops import ledger as of_tables
from tableinator.settings import PostgresSettings


@dataclass(frozen=True, slots=True)
class Book:
    """What one store says. `trouble`: why it can't be asked; `trouble_of_errors`: why not for the errors."""

    service: Service
    loads: Sequence[Load] = ()
    pauses: Sequence[Pause] = ()
    errors: Sequence[LoadErrors] | None = None
    """None if they could not be read."""
    trouble: str = ""
    trouble_of_errors: str = ""


@dataclass(frozen=True, slots=True)
class Ledgers:
    """Where the ledgers are."""

    postgres: PostgresSettings
    neo4j: Neo4jSettings

    async def read(self) -> list[Book]:
        """Read both; one that can't be asked says why, and holds up no other."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_of_tables(self.postgres)), group.create_task(_of_graph(self.neo4j))]
        return [task.result() for task in tasks]

    async def set_pause(self, service: Service, kinds: Sequence[str], *, by: str, reason: str, paused: bool) -> None:
        """Pause kinds of a service, or let them go on.

        Raises: a SinkError.
        """
        if service is Service.TABLEINATOR:
            await of_tables.set_pause(self.postgres, kinds, by=by, reason=reason, paused=paused)
        else:
            await of_graph.set_pause(self.neo4j, kinds, by=by, reason=reason, paused=paused)


def ledgers_of(environ: Mapping[str, str]) -> Ledgers:
    """Where they are, as the environment says."""
    return Ledgers(load_settings(PostgresSettings, environ), load_settings(Neo4jSettings, environ))


async def _of_tables(settings: PostgresSettings) -> Book:
    book = Book(Service.TABLEINATOR)
    try:
        book = replace(book, loads=await of_tables.read_loads(settings), pauses=await of_tables.read_pauses(settings))
    except SinkError as error:
        return replace(book, trouble=str(error))
    return await _with_errors(book, of_tables.read_errors(settings))


async def _of_graph(settings: Neo4jSettings) -> Book:
    book = Book(Service.GRAPHINATOR)
    try:
        book = replace(book, loads=await of_graph.read_loads(settings), pauses=await of_graph.read_pauses(settings))
    except SinkError as error:
        return replace(book, trouble=str(error))
    return await _with_errors(book, of_graph.read_errors(settings))


async def _with_errors(book: Book, reading: Awaitable[Sequence[LoadErrors]]) -> Book:
    """Add what explains a load: nobody needs it to know how far the load is."""
    try:
        return replace(book, errors=await reading)
    except SinkError as error:
        return replace(book, trouble_of_errors=str(error))
