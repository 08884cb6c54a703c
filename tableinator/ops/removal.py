"""Remove rows that a load no longer has, into `spindle_removed`, from which they can be brought back.

A login of its own does this: the services' may not delete. A row goes and its copy is made in one statement, so that a
removal that was killed has lost nothing, and running it again does the rest.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final

import asyncpg

from common.errors import StartRefused
from tableinator.classification import ERRORS, classify
from tableinator.connections import Connections, reading
from tableinator.settings import PostgresSettings
from tableinator.statements import Statements

AT_A_TIME: Final = 5000
"""Rows of one transaction."""

KEPT: Final = 3
"""Loads whose removed rows are kept."""

GRANTS: Final = "deploy/grants/removal.sql"

_OLD: Final = """data_id = ANY($3::text[]) AND (version IS NULL OR version COLLATE "C" <= $2)"""

# What came back and is removed again: its copy is the last one.
_FORGET: Final = f"""
DELETE FROM spindle_removed WHERE kind = $1 AND load = $2
AND data_id IN (SELECT data_id FROM {{table}} WHERE {_OLD})
"""  # noqa: S608 (a name of a closed set)

_REMOVE: Final = f"""
WITH removed AS (DELETE FROM {{table}} WHERE {_OLD} RETURNING data_id, hash, version, data)
INSERT INTO spindle_removed (kind, data_id, load, hash, version, data)
SELECT $1, data_id, $2, hash, version, data FROM removed
"""  # noqa: S608

_ARCHIVED: Final = """
SELECT data_id, version, data FROM spindle_removed WHERE kind = $1 AND load = $2 AND data_id > $3
ORDER BY data_id LIMIT $4
"""

_PRUNE: Final = """
DELETE FROM spindle_removed WHERE kind = $1 AND load < (
    SELECT min(load) FROM (
        SELECT DISTINCT load FROM spindle_removed WHERE kind = $1 ORDER BY load DESC LIMIT $2
    ) AS kept
)
"""


@dataclass(frozen=True, slots=True)
class ArchivedRow:
    """A removed row. `body` is its message."""

    id: str
    version: str | None
    body: bytes


class TableRemoval:
    """Removes and gives back what was removed."""

    store: Final = "postgresql"

    def __init__(self, connections: Connections, settings: PostgresSettings) -> None:
        self._connections, self._settings = connections, settings

    async def remove(self, kind: str, load: str, ids: Sequence[str]) -> int:
        """Remove those of these ids that no later load has stored. Returns: how many that were.

        Raises: StoreUnavailable; StartRefused if this login may not.
        """
        table = Statements.of(kind).table
        arguments = (kind, load, sorted(ids))
        try:
            async with self._connections.transaction() as transaction:
                await transaction.execute(_FORGET.replace("{table}", table), *arguments)
                tag = await transaction.execute(_REMOVE.replace("{table}", table), *arguments)
                await transaction.commit()
                return int(tag.rpartition(" ")[2])
        except asyncpg.InsufficientPrivilegeError as error:
            raise _forbidden(error) from error
        except ERRORS as error:
            raise classify(error, alone=True) from error

    async def archived(self, kind: str, load: str, size: int) -> AsyncIterator[list[ArchivedRow]]:
        """What a load's removal has taken out of a kind, `size` rows at a time.

        Raises: StoreUnavailable.
        """
        behind = ""
        try:
            async with reading(self._settings) as session:
                while True:
                    async with asyncio.timeout(self._settings.command_timeout):
                        rows = await session.fetch(_ARCHIVED, kind, load, behind, size)
                    if not rows:
                        return
                    yield [ArchivedRow(*row) for row in rows]
                    behind = rows[-1]["data_id"]
        except ERRORS as error:
            raise classify(error, alone=True) from error

    async def prune(self, kind: str) -> None:
        """Forget what was removed before the last three loads that removed anything.

        Raises: StoreUnavailable.
        """
        try:
            async with self._connections.transaction() as transaction:
                await transaction.execute(_PRUNE, kind, KEPT)
                await transaction.commit()
        except ERRORS as error:
            raise classify(error, alone=True) from error


def _forbidden(error: asyncpg.PostgresError) -> StartRefused:
    return StartRefused(
        f"PostgreSQL: this login may not remove ({error.args[0]}). Removing takes one of its own: {GRANTS} makes it, "
        "and REMOVAL_POSTGRES_USERNAME and REMOVAL_POSTGRES_PASSWORD name it."
    )
