"""Store a batch within a transaction: look up, COPY what is new, upsert what has changed."""

from collections.abc import Sequence

import asyncpg

from common.outcomes import Outcome
from tableinator.classification import ERRORS, RowsDropped, classify
from tableinator.decision import StoredState, by_id, decide, positions
from tableinator.model import Row
from tableinator.statements import COLUMNS, Statements
from tableinator.transaction import Transaction


class Outrun(Exception):
    """Another replica has stored one of the new records between our look-up and our COPY."""


async def store(
    transaction: Transaction, statements: Statements, rows: Sequence[Row], *, copying: bool
) -> list[Outcome]:
    """Write what needs writing, and say what became of each row if the transaction is committed.

    Without `copying` new rows go the upsert's way too, which is slower and takes any race.
    Raises: Outrun, only when copying; RecordsRefused with the position that a COPY names; RowsDropped; what the driver
    raises.
    """
    outcomes = await look_up(transaction, statements, rows)
    upserted = positions(outcomes, Outcome.CHANGED)
    # What is copied comes before what is upserted in every replica, and both are sorted: two writers that meet wait for
    # one another in one direction only.
    if copying:
        await _copy(transaction, statements, rows, by_id(rows, positions(outcomes, Outcome.NEW)))
    else:
        upserted += positions(outcomes, Outcome.NEW)
    for position, outcome in (await upsert(transaction, statements, rows, by_id(rows, upserted))).items():
        outcomes[position] = outcome
    return outcomes


async def overwrite(transaction: Transaction, statements: Statements, row: Row) -> None:
    """Write one row, whatever is stored, by the way that `store` would take: a new one by COPY, another by upsert.

    Raises: as `store`, when copying.
    """
    if await look_up(transaction, statements, [row]) == [Outcome.NEW]:
        await _copy(transaction, statements, [row], [0])
        return
    tag = await transaction.execute(statements.overwrite, *columns_of([row]))
    if tag != "INSERT 0 1":
        raise RowsDropped(f"a row is not in {statements.table} after its upsert")


def columns_of(rows: Sequence[Row]) -> tuple[list[str], list[str], list[bytes], list[str | None]]:
    """Turn rows into the arrays that the statements take."""
    return (
        [row.id for row in rows],
        [row.hash for row in rows],
        [row.body for row in rows],
        [row.version for row in rows],
    )


async def look_up(transaction: Transaction, statements: Statements, rows: Sequence[Row]) -> list[Outcome]:
    """Decide about each row by what is stored at this moment."""
    found = {
        data_id: StoredState(stored_hash, version)
        for data_id, stored_hash, version in await transaction.fetch(statements.look_up, [row.id for row in rows])
    }
    return [decide(row, found.get(row.id)) for row in rows]


async def upsert(
    transaction: Transaction, statements: Statements, rows: Sequence[Row], chosen: Sequence[int]
) -> dict[int, Outcome]:
    """Write rows on their conditions; what the server did with each is the truth, whatever the look-up said."""
    if not chosen:
        return {}
    upsert = statements.upsert_from_18 if transaction.version >= 18 else statements.upsert
    answer = await transaction.fetch(upsert, *columns_of([rows[position] for position in chosen]))
    written = {data_id: Outcome.NEW if is_new else Outcome.CHANGED for data_id, is_new in answer}
    skipped = [position for position in chosen if rows[position].id not in written]
    outcomes = {position: written[rows[position].id] for position in chosen if rows[position].id in written}
    if skipped:
        # The upsert has locked them, so this sees what they were skipped for: unchanged or stale.
        reasons = await look_up(transaction, statements, [rows[position] for position in skipped])
        if lost := sum(reason in (Outcome.NEW, Outcome.CHANGED) for reason in reasons):
            raise RowsDropped(f"{lost} of {len(chosen)} rows are not in {statements.table} after their upsert")
        outcomes.update(zip(skipped, reasons, strict=True))
    return outcomes


async def _copy(transaction: Transaction, statements: Statements, rows: Sequence[Row], chosen: Sequence[int]) -> None:
    if not chosen:
        return
    try:
        copied = await transaction.copy(
            statements.table,
            COLUMNS,
            ((row.id, row.hash, row.body, row.version) for row in map(rows.__getitem__, chosen)),
        )
    except asyncpg.UniqueViolationError as error:
        raise Outrun from error
    except ERRORS as error:
        raise classify(error, alone=len(rows) == 1, copied=chosen) from error
    if copied != len(chosen):
        raise RowsDropped(
            f"{len(chosen) - copied} of {len(chosen)} rows are not in {statements.table} after their COPY"
        )
