"""One run at a time: what two would write beside each other, neither of them could see."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

import asyncpg

from common.errors import StartRefused
from tableinator.classification import ERRORS, classify
from tableinator.ops.refinement.statements import check_schema
from tableinator.sessions import Session, door_of, open_session
from tableinator.settings import PostgresSettings

_KEY: Final = int.from_bytes(b"run")
"""The advisory lock's first key; the second is the schema's."""

_GRACE: Final = 5.0
"""Seconds to wait: the session of a run that was killed lasts a little longer than the run."""

_CLOSING: Final = 2.0
"""Seconds for giving the lock back; else the server does when the connection is gone."""

# It stays open and idle for as long as the run takes. It has no snapshot then, and keeps nothing from being vacuumed.
_BEGIN: Final = """
BEGIN ISOLATION LEVEL READ COMMITTED;
SELECT set_config(name, '0', true) FROM pg_settings
WHERE name IN ('idle_in_transaction_session_timeout', 'transaction_timeout')
"""


@asynccontextmanager
async def alone(settings: PostgresSettings, schema: str) -> AsyncIterator[None]:
    """Keep other runs on this schema away.

    Raises: StartRefused if there is one; StoreUnavailable.
    """
    try:
        session = await open_session(await asyncio.to_thread(door_of, settings))
    except ERRORS as error:
        raise classify(error, alone=True) from error
    try:
        await _lock(session, schema, settings.command_timeout)
        yield
    finally:
        with suppress(*ERRORS):
            await session.execute("ROLLBACK", timeout=_CLOSING)
        session.terminate()


async def _lock(session: Session, schema: str, limit: float) -> None:
    # A transaction's and not the session's lock: a pooler would hand on the session, and the lock with it.
    grace = f"SET LOCAL lock_timeout = '{round(_GRACE * 1000)}ms'"
    try:
        await session.execute(f"{_BEGIN}; {grace}", timeout=limit)
        # Without arguments: a prepared statement keeps its snapshot until the next one, and indexes wait for that.
        lock = f"SELECT pg_advisory_xact_lock({_KEY}, hashtext('{check_schema(schema)}'))"
        await session.execute(lock, timeout=limit + _GRACE)
    except asyncpg.LockNotAvailableError as error:
        raise StartRefused(
            f"Another run of spindle refine is at work in the schema {schema}: wait for its end, and run it again."
        ) from error
    except ERRORS as error:
        raise classify(error, alone=True) from error
