"""Read a kind's rows in the order of their ids, a page at a time, each of its own moment.

No transaction lasts longer than a page, so that nothing is kept from vacuum for hours, and a reader can go on behind
any id, also after its process has ended.
"""

from typing import Final

from common.kinds import KINDS
from tableinator.classification import ERRORS, classify
from tableinator.connections import reading
from tableinator.ops.reader import StoredRow
from tableinator.settings import PostgresSettings

_PAGE: Final = "SELECT data_id, hash, version, data FROM {table} WHERE data_id > $1 ORDER BY data_id LIMIT $2"


async def rows_behind(settings: PostgresSettings, kind: str, after: str, count: int) -> list[StoredRow]:
    """The next rows behind an id, in the index's order; none where there are no more.

    Raises: StoreUnavailable.
    """
    try:
        async with reading(settings) as session:
            rows = await session.fetch(_of(kind, _PAGE), after, count, timeout=settings.command_timeout)
    except ERRORS as error:
        raise classify(error, alone=True) from error
    return [StoredRow(*row) for row in rows]


def _of(kind: str, statement: str) -> str:
    if kind not in KINDS:
        raise ValueError(f"{kind!r} is not a kind; there are {', '.join(KINDS)}")
    return statement.replace("{table}", kind)
