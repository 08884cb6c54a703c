"""The steps of a transaction on one kind: each sends a statement and reads what it says."""

from collections.abc import Sequence
from typing import Any

from msgspec import structs
from neo4j import AsyncTransaction

from common.outcomes import Outcome
from graphinator.parameters import Ends, forced, identities, rows
from graphinator.projection import GraphRecord, Unread
from graphinator.statements import statements_of
from graphinator.transactions import run


class Steps:
    """What a sink does within a transaction, in the order of the methods."""

    def __init__(self, kind: str) -> None:
        self._statements = statements_of(kind)
        self._ends = Ends(kind)

    async def look_up(self, transaction: AsyncTransaction, records: Sequence[Unread]) -> list[Outcome]:
        """Say which records need work, as far as one can know without their locks."""
        return await self._ask(transaction, self._statements.look_up, identities(records))

    async def store(
        self,
        transaction: AsyncTransaction,
        records: Sequence[GraphRecord],
        *,
        force: bool = False,
        notes: Sequence[dict[str, Any]] = (),
    ) -> list[Outcome]:
        """Hold the records until the transaction ends, say for certain which need work, and do it.

        `force`: write them all, whatever is stored. `notes`: for the ledger.
        """
        who = forced(records) if force else identities(records)
        parameters = who | rows(records) | self._ends.of(records) | {"notes": list(notes)}
        return await self._ask(transaction, self._statements.store, parameters)

    async def hold(self, transaction: AsyncTransaction, record: GraphRecord) -> GraphRecord | None:
        """Hold a stored record until the transaction ends.

        Returns: the record with the version that it is stored with (an unchanged one of a later load keeps its own);
        None if something else is stored, or nothing.
        """
        held = await (await run(transaction, self._statements.hold, {"id": record.id})).single()
        if held is None or held["hash"] != record.hash:
            return None
        # An empty hash says nothing about the content: then it must be of this very load.
        if not record.hash and held["load"] != record.version:
            return None
        return structs.replace(record, version=held["load"])

    async def _ask(self, transaction: AsyncTransaction, statement: str, parameters: dict[str, Any]) -> list[Outcome]:
        # In one map: for a list the server makes a plan per order of magnitude of its size, for twenty lists thousands.
        row = await (await run(transaction, statement, {"batch": parameters})).single(strict=True)
        return outcomes_of(len(parameters["ids"]), new=row["new"], changed=row["changed"], stale=row["stale"])


def outcomes_of(count: int, *, new: Sequence[int], changed: Sequence[int], stale: Sequence[int]) -> list[Outcome]:
    """One outcome per position, from the lists of positions that the server returns."""
    outcomes = [Outcome.UNCHANGED] * count
    for positions, outcome in ((new, Outcome.NEW), (changed, Outcome.CHANGED), (stale, Outcome.STALE)):
        for position in positions:
            outcomes[position] = outcome
    return outcomes
