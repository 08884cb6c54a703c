"""Translate what the driver raises into the failures that the runtime handles, and find out which record is meant."""

import re
from collections.abc import Sequence
from typing import Final

import asyncpg

from common.errors import BatchTooLarge, RecordsRefused, Refusal, SinkError, StoreUnavailable, WriteConflict
from common.settings.certificates import Peer, speaks_no_tls, what_is_wrong
from tableinator.settings import PostgresSettings
from tableinator.sqlstates import Meaning, alarm_sentence, is_of_a_pooler, meaning

PEER: Final = Peer(PostgresSettings.store_name, "POSTGRES", "POSTGRES_DSN")


class NoWriter(Exception):
    """Of the hosts that the DSN names, none takes writes."""


class RowsDropped(Exception):
    """The server took a statement and did not store all of its rows: a trigger keeps them out."""


class NotReplicated(Exception):
    """A commit is on the server's disk, and its wait for a standby was ended."""


ERRORS: Final = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,  # with TimeoutError, and errors of TLS and of name resolution
    UnicodeError,  # the driver's packing: a text that UTF-8 can't express
    NoWriter,
    RowsDropped,
    NotReplicated,
)
"""What the driver raises, and `classify` understands."""


_OURS: Final = {
    NoWriter: "None of PostgreSQL's hosts takes writes: see POSTGRES_DSN, and that one of them is the primary",
    RowsDropped: "PostgreSQL takes rows and does not store them: see the table's triggers and rules",
    NotReplicated: "PostgreSQL's standby does not confirm: see synchronous_standby_names, and that the standby runs",
}


def classify(error: Exception, *, alone: bool, copied: Sequence[int] = ()) -> SinkError:
    """Translate one of `ERRORS`.

    `copied`: the batch's positions in the order in which they were copied, if a COPY was under way.
    """
    if isinstance(error, asyncpg.PostgresError):
        return _of_server(error, alone=alone, copied=copied)
    if isinstance(error, asyncpg.OutdatedSchemaCacheError):
        return WriteConflict(f"OutdatedSchemaCacheError: {error}")
    if isinstance(error, asyncpg.InterfaceError):
        return StoreUnavailable(f"{type(error).__name__}: {error}", alarm=_alarm_of_driver(error))
    if isinstance(error, asyncpg.InternalClientError):
        return StoreUnavailable(f"{type(error).__name__}: {error}")
    if isinstance(error, NoWriter | RowsDropped | NotReplicated):
        return StoreUnavailable(str(error), alarm=f"{_OURS[type(error)]} ({error}).")
    if isinstance(error, TimeoutError):
        return StoreUnavailable(str(error) or "no answer in time")
    if isinstance(error, OSError):
        return StoreUnavailable(f"{type(error).__name__}: {error}", alarm=_alarm_of_system(error))
    return RecordsRefused(Refusal(type(error).__name__, "", str(error)), positions=None, certain=True)


def about_tls(error: Exception) -> str:
    """What an error about TLS or certificates says of the server; empty if it is about something else."""
    # The driver's word for a server that answers no to its request for TLS.
    if isinstance(error, ConnectionError) and "rejected SSL upgrade" in str(error):
        return speaks_no_tls(PEER)
    return what_is_wrong(error, PEER)


def _of_server(error: asyncpg.PostgresError, *, alone: bool, copied: Sequence[int]) -> SinkError:
    match meaning(error, alone=alone):
        case Meaning.OUTAGE:
            # The message only: detail and context may show a record.
            return StoreUnavailable(f"{error.sqlstate} {_message(error)}", alarm=_alarm(error))
        case Meaning.RETRY:
            pooler = ", a connection pooler's doing: see docs/postgresql.md" if is_of_a_pooler(error) else ""
            return WriteConflict(f"{error.sqlstate} {_message(error)}{pooler}")
        case Meaning.TOO_LARGE:
            return BatchTooLarge(_refusal(error))
        case Meaning.DATA:
            return RecordsRefused(_refusal(error), positions=_named(error, copied), certain=True)
        case Meaning.UNKNOWN:
            return RecordsRefused(_refusal(error), positions=_named(error, copied), certain=False)


def _message(error: asyncpg.PostgresError) -> str:
    return str(error.args[0]) if error.args else type(error).__name__


def _alarm(error: asyncpg.PostgresError) -> str | None:
    sentence = alarm_sentence(error)
    return f"{sentence} ({error.sqlstate}: {_message(error)})." if sentence else None


def _alarm_of_driver(error: asyncpg.InterfaceError) -> str | None:
    """A lost connection is an outage like any other; whatever else the driver refuses is a fault of ours.

    The driver has one class for both, so its words decide: a lost connection is closed, or has left the pool.
    """
    if any(word in str(error) for word in ("closed", "closing", "released back to the pool")):
        return None
    return f"The PostgreSQL driver refuses what it is asked to do: {error}"


def _alarm_of_system(error: OSError) -> str | None:
    """An error of a file of ours is no outage of the server's."""
    if what := about_tls(error):
        return f"{PEER.name} {what}"
    return f"{error.filename} can't be read on this side ({error.strerror})." if error.filename else None


def _refusal(error: asyncpg.PostgresError) -> Refusal:
    parts = (_message(error), error.detail, error.context)
    return Refusal(type(error).__name__, error.sqlstate or "", "\n".join(part for part in parts if part))


def _named(error: asyncpg.PostgresError, copied: Sequence[int]) -> list[int] | None:
    """The position in the batch that a COPY's context names: `COPY artists, line 7, column data`.

    The words follow the server's lc_messages, so what counts is the only number of the last line that says COPY:
    a kind's and a column's name have no digits, and the line before it, which shows the record's text, is not read.
    """
    lines = [line for line in (error.context or "").splitlines() if "COPY" in line]
    numbers = re.findall(r"\d+", lines[-1]) if lines else []
    if len(numbers) != 1 or not 0 < int(numbers[0]) <= len(copied):
        return None
    return [copied[int(numbers[0]) - 1]]
