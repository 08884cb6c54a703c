"""Translate what the driver raises into the failures that the runtime handles, and find out which record is meant."""

import re
from collections.abc import Sequence
from typing import Final

import asyncpg

from common.errors import BatchTooLarge, RecordsRefused, Refusal, SinkError, StoreUnavailable, WriteConflict
from common.network.failures import LOST, in_words
from common.settings.certificates import Peer, speaks_no_tls, what_is_wrong
from tableinator.settings import PostgresSettings
from tableinator.sqlstates import Meaning, alarm_sentence, is_of_a_pooler, meaning

PEER: Final = Peer(PostgresSettings.store_name, "POSTGRES", "POSTGRES_DSN")


class NoWriter(Exception):
    """None of the hosts that the DSN names takes writes."""


class NotHeeded(Exception):
    """The DSN's search_path is not in effect: a pooler does not pass it on. The tables would be others."""


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
    NotHeeded,
    RowsDropped,
    NotReplicated,
)
"""What the driver raises, and `classify` understands."""


_OURS: Final = {
    NoWriter: "None of PostgreSQL's hosts takes writes: see POSTGRES_DSN, and that one of them is the primary",
    NotHeeded: "The search_path of POSTGRES_DSN does not reach PostgreSQL through the connection pooler: set it for "
    "the role, as ALTER ROLE … SET search_path does",
    RowsDropped: "PostgreSQL takes rows and does not store them: see the table's triggers and rules",
    NotReplicated: "PostgreSQL's standby does not confirm: see synchronous_standby_names, and that the standby runs",
}

_LOST_CODES: Final = frozenset({"08000", "08001", "08003", "08006"})
"""What the driver itself gives a connection that is gone; a pooler uses them too, and says why."""

_ABOUT_ITS_STATE: Final = re.compile(
    "cannot switch to|unexpected state|^unexpected$|another operation|connection_lost|closed in the middle"
    "|connection (?:is|was) closed|while connecting"
)
"""Sentences of the driver's that say nothing but that the connection ended while it was used."""


def classify(error: Exception, *, alone: bool, copied: Sequence[int] = ()) -> SinkError:
    """Translate one of `ERRORS`.

    `copied`: the batch's positions in the order in which they were copied, if a COPY was under way.
    """
    problem = _meant(error, alone=alone, copied=copied)
    problem.error_class, problem.code = type(error).__name__, getattr(error, "sqlstate", None) or ""
    return problem


def _meant(error: Exception, *, alone: bool, copied: Sequence[int]) -> SinkError:
    if isinstance(error, asyncpg.PostgresError):
        return _of_server(error, alone=alone, copied=copied)
    if isinstance(error, asyncpg.OutdatedSchemaCacheError):
        return WriteConflict("the tables were changed meanwhile")
    if isinstance(error, asyncpg.InterfaceError):
        alarm = _alarm_of_driver(error)
        return StoreUnavailable(f"the driver refuses: {error}" if alarm else LOST, alarm=alarm)
    if isinstance(error, asyncpg.InternalClientError):
        if _ABOUT_ITS_STATE.search(str(error)):
            return StoreUnavailable(f"{LOST} in the middle of an answer")
        stuck = f"the driver can't go on: {error}"
        return StoreUnavailable(stuck, alarm=f"PostgreSQL can't be written to by our means, {stuck}.")
    if isinstance(error, NoWriter | NotHeeded | RowsDropped | NotReplicated):
        return StoreUnavailable(str(error), alarm=f"{_OURS[type(error)]} ({error}).")
    if isinstance(error, OSError):
        alarm = _alarm_of_system(error)
        return StoreUnavailable(alarm or in_words(error) or str(error) or LOST, alarm=alarm)
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
            alarm = _alarm(error)
            is_lost = error.sqlstate in _LOST_CODES and bool(_ABOUT_ITS_STATE.search(_message(error))) and not alarm
            return StoreUnavailable(LOST if is_lost else _said(error), alarm=alarm)
        case Meaning.RETRY:
            pooler = ", a connection pooler's doing: see docs/postgresql.md" if is_of_a_pooler(error) else ""
            return WriteConflict(f"{_said(error)}{pooler}")
        case Meaning.TOO_LARGE:
            return BatchTooLarge(_refusal(error))
        case Meaning.DATA:
            return RecordsRefused(_refusal(error), positions=_named(error, copied), certain=True)
        case Meaning.UNKNOWN:
            return RecordsRefused(_refusal(error), positions=_named(error, copied), certain=False)


def _message(error: asyncpg.PostgresError) -> str:
    return str(error.args[0]) if error.args else type(error).__name__


def _said(error: asyncpg.PostgresError) -> str:
    """What the server says, in its own words: those are an operator's."""
    return f"{_message(error)} ({error.sqlstate})"


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
