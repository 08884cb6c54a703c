"""Transactions on Neo4j: each with a limit, rolled back unless it ends well.

Explicit transactions only: the driver's managed ones sleep for seconds and retry what can't succeed (a transaction too
large for the server's memory is "retryable" to it).
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, TypeVar

from neo4j import AsyncDriver, AsyncResult, AsyncTransaction
from neo4j.exceptions import DriverError, Neo4jError

from graphinator.classification import Unpackable, says_not_here
from graphinator.login import Login

T = TypeVar("T")

_SLACK = 5.0  # seconds beyond the limits of server and driver, so that those speak first: they know more


class Transactions:
    """A service's way to its database. How many there are at a time is for the caller to see to.

    `connect_timeout` and `transaction_timeout` are seconds; the second is set on the server as well. `login`: hears of
    refusals. `application`: what SHOW TRANSACTIONS names, for who looks for what keeps the service busy.
    """

    def __init__(
        self,
        driver: AsyncDriver,
        *,
        database: str,
        connect_timeout: float,
        transaction_timeout: float,
        login: Login | None = None,
        application: str = "spindle",
    ) -> None:
        self._driver = driver
        self._login = login
        self._database = database
        self._transaction_timeout = transaction_timeout
        self._shown = {"app": application}
        self._limit = connect_timeout + transaction_timeout + _SLACK
        self.in_use = 0

    async def run(self, work: Callable[[AsyncTransaction], Awaitable[T]]) -> T:
        """Give `work` a transaction, which it may commit; whatever it has not committed is rolled back.

        Raises: whatever `work` or the driver raises; TimeoutError if the server said nothing.
        """
        self.in_use += 1
        try:
            # The limit is outermost: what it cancels must pass through the session, which then closes the
            # connection instead of giving it back with an answer still to come.
            async with asyncio.timeout(self._limit) as limit:
                try:
                    return await self._run(work)
                except Neo4jError as error:
                    if self._login:
                        self._login.look_at(error)
                    if says_not_here(error):
                        await self._end_a_connection()
                    raise
        except TimeoutError as error:
            if limit.expired():
                raise TimeoutError(f"no answer within {self._limit:g} s") from error
            raise
        finally:
            self.in_use -= 1

    async def _run(self, work: Callable[[AsyncTransaction], Awaitable[T]]) -> T:
        # Leaving by an exception rolls back; by a cancellation, ends the connection.
        async with (
            self._driver.session(database=self._database) as session,
            await session.begin_transaction(metadata=self._shown, timeout=self._transaction_timeout) as transaction,
        ):
            result = await work(transaction)
            if not transaction.closed():
                await transaction.rollback()
            return result

    async def _end_a_connection(self) -> None:
        """End one of those that are free, so that the next one is made to where the name leads by now.

        The one with the error is free already: the driver gives a connection back before it raises. Where there are
        several, each error ends one.
        """
        with suppress(Neo4jError, DriverError, OSError):
            async with self._driver.session(database=self._database) as session:
                await session.begin_transaction(timeout=self._transaction_timeout)
                session.cancel()


async def run(transaction: AsyncTransaction, statement: str, parameters: Mapping[str, Any]) -> AsyncResult:
    """Send one statement.

    Raises: Unpackable if a value can't be sent; nothing has been sent then.
    """
    try:
        # The text is generated from the model, never from a value.
        return await transaction.run(statement, dict(parameters))
    except (OverflowError, ValueError) as error:
        raise Unpackable(f"{type(error).__name__} while packing") from error
