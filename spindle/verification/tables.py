"""Compare one kind's table with a load. The hash column is not read: each hash is taken again of the stored data."""

from typing import Any

import msgspec

from spindle.verification.expectation import Expectation, Roll, content_digest
from spindle.verification.findings import StoreFindings
from tableinator.ops.reader import read_rows
from tableinator.settings import PostgresSettings

STORE = "postgresql"
_ENVELOPE = ("type", "sha256")


async def compare_table(expectation: Expectation, settings: PostgresSettings) -> StoreFindings:
    """Read the whole table and compare it row by row.

    Raises: StoreUnavailable.
    """
    kind, date = expectation.kind, expectation.load.date
    found = StoreFindings(store=STORE, kind=kind, expected=len(expectation.records))
    roll = Roll(expectation)
    async for row in read_rows(settings, kind):
        fingerprint = expectation.records.get(row.id)
        if fingerprint is None:
            found.others += 1
            continue
        roll.tick_off(fingerprint)
        if _digest(row.data) == fingerprint.content:
            found.agreeing += 1
        elif row.version is not None and row.version > date:
            found.newer += 1
        else:
            found.different.add(f"{kind} {row.id}")
    for record_id in roll.missing():
        found.missing.add(f"{kind} {record_id}")
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
