"""Read a kind's rows in the order of their ids, a page at a time, each of its own moment.

No transaction lasts longer than a page, so that nothing is kept from vacuum for hours, and a reader can go on behind
any id, also after its process has ended.
"""

from typing import Final

from tableinator.ops.reader import StoredRow, open_table
from tableinator.settings import PostgresSettings
from tableinator.statements import Statements

_PAGE: Final = "SELECT {what} FROM {table} WHERE data_id > $1 ORDER BY data_id LIMIT $2"


async def rows_behind(settings: PostgresSettings, kind: str, after: str, count: int) -> list[StoredRow]:
    """The next rows behind an id, in the index's order; none where there are no more.

    Raises: StoreUnavailable.
    """
    page = _PAGE.replace("{table}", Statements.of(kind).table)
    rows = page.replace("{what}", "data_id, hash, version, data")
    places = page.replace("{what}", "ctid, data_id, hash, version")
    async with open_table(settings, kind) as table:
        return await table.read(rows, places, after, count)
