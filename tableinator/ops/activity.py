"""What tableinator's transactions wait for in PostgreSQL now: a sample of `pg_stat_activity`."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from common.ops.waits import Wait, Waiting
from tableinator.classification import ERRORS, classify
from tableinator.connections import reading
from tableinator.sessions import SERVICE, Session
from tableinator.settings import PostgresSettings

# Of another role's sessions, who is no member of pg_read_all_stats sees the names, and no more: not even what they are.
_SAMPLE: Final = """
SELECT backend_type IS NULL AS hidden, coalesce(wait_event_type, '') AS type, coalesce(wait_event, '') AS event,
    (SELECT coalesce(wait_event <> 'CheckpointerMain', false) FROM pg_stat_activity
        WHERE backend_type = 'checkpointer' LIMIT 1) AS checkpoint
FROM pg_stat_activity
WHERE datname = current_database() AND application_name = $1
    AND (backend_type IS NULL OR backend_type = 'client backend' AND state IN ('active', 'idle in transaction'))
"""

_KINDS: Final = {"": Wait.COMPUTES, "IO": Wait.DISK, "Lock": Wait.LOCKS, "Client": Wait.CLIENT}
"""By `wait_event_type`; BufferPin, Extension, IPC and Timeout are others, and so is LWLock: nobody holds those for
long, they tell that many write at the same time.
"""

_HIDDEN: Final = "what tableinator's sessions do: only a member of pg_read_all_stats sees another role's"


class TableActivity:
    """Looks again and again, each time as of that moment."""

    def __init__(self, session: Session, limit: float) -> None:
        self._session, self._limit = session, limit
        self.unseen = ""

    async def look(self) -> list[Waiting]:
        """What each transaction of tableinator's does now.

        Raises: StoreUnavailable.
        """
        try:
            async with asyncio.timeout(self._limit):
                rows = await self._session.fetch(_SAMPLE, SERVICE)
        except ERRORS as error:
            raise classify(error, alone=True) from error
        self.unseen = _HIDDEN if any(row["hidden"] for row in rows) else ""
        shown = [row for row in rows if not row["hidden"]]
        return [waiting(row["type"], row["event"], checkpoint=row["checkpoint"]) for row in shown]


def waiting(kind: str, event: str, *, checkpoint: bool | None = None) -> Waiting:
    """What a `wait_event_type` and a `wait_event` mean. Pure. `checkpoint`: None if no checkpointer can be seen.

    Source: https://www.postgresql.org/docs/current/monitoring-stats.html#WAIT-EVENT-TABLE
    """
    # Whoever waits for the lock of the log's writing waits for the disk below it.
    wait = Wait.DISK if event in ("WALWrite", "WALWriteLock") else _KINDS.get(kind, Wait.OTHER)
    return Waiting(wait, f"{kind} {event}".strip() or "CPU", checkpoint)


@asynccontextmanager
async def open_activity(settings: PostgresSettings) -> AsyncIterator[TableActivity]:
    """Connect for looking.

    Raises: StoreUnavailable, StartRefused.
    """
    try:
        async with reading(settings) as session:
            # Within a transaction the view stays as it was when it was first read.
            await session.execute("ROLLBACK", timeout=settings.command_timeout)
            yield TableActivity(session, settings.connect_timeout)
    except ERRORS as error:
        raise classify(error, alone=True) from error
