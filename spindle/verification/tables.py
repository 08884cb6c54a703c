"""Compare one kind's table with a load, a few ids at a time.

The hash column is not read: each hash is taken again of the stored data.
"""

from typing import Any

import msgspec

from spindle.verification.expectation import Expectation, content_digest
from spindle.verification.findings import StoreFindings
from tableinator.ops.reader import open_table
from tableinator.settings import PostgresSettings

STORE = "postgresql"
_ENVELOPE = ("type", "sha256")


async def compare_table(expectation: Expectation, settings: PostgresSettings) -> StoreFindings:
    """Look up every record and compare it, as of one moment; what else the table holds is counted.

    Raises: StoreUnavailable.
    """
    kind, date = expectation.kind, expectation.load.date
    found = StoreFindings(store=STORE, kind=kind, expected=len(expectation))
    stored = 0
    async with open_table(settings, kind) as table:
        for chunk in expectation.chunks():
            rows = await table.rows(list(chunk))
            stored += len(rows)
            for record_id, fingerprint in chunk.items():
                row = rows.get(record_id)
                if row is None:
                    found.missing.add(f"{kind} {record_id}")
                elif _digest(row.data) == fingerprint.content:
                    found.agreeing += 1
                elif row.version is not None and row.version > date:
                    found.newer += 1
                else:
                    found.different.add(f"{kind} {record_id}")
        found.others = await table.count() - stored
    return found


def _digest(stored: bytes | None) -> bytes | None:
    """The hash of a stored body's record; None if it is no object, or nobody can read it."""
    try:
        body: Any = msgspec.json.decode(stored or b"")
    except (msgspec.DecodeError, RecursionError):
        return None
    if not isinstance(body, dict):
        return None
    return content_digest({key: value for key, value in body.items() if key not in _ENVELOPE})
