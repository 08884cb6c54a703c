"""What an error of PostgreSQL, or of its driver, means for a batch.

The weakest point of any consumer: too broad on one side, a bad record is retried for ever; on the other, an outage
drains healthy records into the dead letters. So the meanings are a table, by SQLSTATE, in which every class has a
place; what is not named is unknown, and the rule of evidence decides.
"""

import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from types import MappingProxyType
from typing import Final

import asyncpg

from common.errors import BatchTooLarge, RecordsRefused, Refusal, SinkError, StoreUnavailable, WriteConflict

ERRORS: Final = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,  # with TimeoutError, and errors of TLS and of name resolution
    UnicodeError,  # the driver's packing: a text that UTF-8 can't express
)
"""What the driver raises, and `classify` understands."""


class Meaning(StrEnum):
    """What is done about an error; the words of docs/architecture.md."""

    RETRY = "retry"
    OUTAGE = "outage"
    TOO_LARGE = "too large"
    DATA = "data"
    UNKNOWN = "unknown"


_R, _O, _T, _D, _U = Meaning.RETRY, Meaning.OUTAGE, Meaning.TOO_LARGE, Meaning.DATA, Meaning.UNKNOWN

# Every class of PostgreSQL's appendix A; 22 and the like are stood behind by the flood guard.
BY_CLASS: Final[Mapping[str, Meaning]] = MappingProxyType(
    {"00": _U, "01": _U, "02": _U, "03": _U, "08": _O, "09": _U, "0A": _O, "0B": _U, "0F": _U, "0L": _U, "0P": _U}
    | {"0Z": _U, "10": _U, "20": _U, "21": _U, "22": _D, "23": _D, "24": _U, "25": _U, "26": _R, "27": _U, "28": _O}
    | {"2B": _U, "2D": _U, "2F": _U, "34": _U, "38": _U, "39": _U, "3B": _U, "3D": _O, "3F": _O, "40": _R, "42": _O}
    | {"44": _D, "53": _O, "54": _D, "55": _U, "57": _U, "58": _O, "72": _R, "F0": _O, "HV": _O, "P0": _U, "XX": _U}
)

BY_CODE: Final[Mapping[str, Meaning]] = MappingProxyType(
    {
        "25006": _O,  # the server is read-only
        "25P03": _R,  # idle in transaction for too long
        "25P04": _R,  # transaction timeout
        "53200": _T,  # no memory for a statement of this size
        "54001": _T,  # nested too deeply
        "55006": _R,  # object in use
        "55P03": _R,  # lock not available
        "57014": _T,  # cancelled, as a rule by statement_timeout
        "57P01": _O,  # shut down by an administrator
        "57P02": _O,  # another backend crashed
        "57P03": _O,  # starting up
        "57P04": _O,  # the database was dropped
        "57P05": _O,  # idle for too long
        "XX001": _O,  # corrupted data
        "XX002": _O,  # corrupted index
    }
)

# Where fewer records at once are not possible any more.
ALONE: Final[Mapping[str, Meaning]] = MappingProxyType({"53200": _O, "54001": _D, "57014": _O})

# Where waiting alone mends nothing. By code first, then by class.
ALARMS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "25006": "PostgreSQL is read-only: end its recovery or read-only mode, or name the primary in POSTGRES_HOST",
        "42501": "PostgreSQL refuses this user a privilege: grant SELECT, INSERT and UPDATE on the tables",
        "42P01": "A table is missing in PostgreSQL: restore it, or restart tableinator so that it is created",
        "53100": "PostgreSQL's disk is full: free or add space",
        "53200": "PostgreSQL finds no memory for a single record: give it more, or lower its other load",
        "57014": "PostgreSQL cancels a single record's write: see what slows it or raise POSTGRES_COMMAND_TIMEOUT",
        "XX001": "PostgreSQL reports corrupted data: see its log and restore from a backup",
        "XX002": "PostgreSQL reports a corrupted index: see its log and REINDEX",
        "0A": "PostgreSQL does not support what is asked of it: see its version and configuration",
        "28": "PostgreSQL refuses the login: see POSTGRES_USERNAME, POSTGRES_PASSWORD and pg_hba.conf",
        "3D": "The database does not exist: see POSTGRES_DATABASE",
        "3F": "The schema does not exist: see the user's search_path",
        "42": "PostgreSQL's schema is not as expected: see what was changed in the tables",
        "58": "PostgreSQL reports an error of its system: see its log and its disks",
        "F0": "PostgreSQL's configuration has an error: see its log",
        "HV": "A foreign table fails in PostgreSQL: the tables must be ordinary ones",
    }
)


def meaning(error: asyncpg.PostgresError, *, alone: bool) -> Meaning:
    """Look an error of the server up. `alone`: it came from a batch of one record."""
    code = error.sqlstate or ""
    if isinstance(error, asyncpg.InvalidCachedStatementError):
        return Meaning.RETRY  # 0A000 like others, but all it takes is to prepare the statement again
    if alone and code in ALONE:
        return ALONE[code]
    return BY_CODE.get(code) or BY_CLASS.get(code[:2], Meaning.UNKNOWN)


def classify(error: Exception, *, alone: bool, copied: Sequence[int] = ()) -> SinkError:
    """Translate one of `ERRORS`.

    `copied`: the batch's positions in the order in which they were copied, where a COPY was under way.
    """
    if isinstance(error, asyncpg.PostgresError):
        return _of_server(error, alone=alone, copied=copied)
    if isinstance(error, asyncpg.OutdatedSchemaCacheError):
        return WriteConflict(f"OutdatedSchemaCacheError: {error}")
    if isinstance(error, asyncpg.InterfaceError):
        return StoreUnavailable(f"{type(error).__name__}: {error}", alarm=_alarm_of_driver(error))
    if isinstance(error, asyncpg.InternalClientError):
        return StoreUnavailable(f"{type(error).__name__}: {error}")
    if isinstance(error, TimeoutError):
        return StoreUnavailable(str(error) or "no answer in time")
    if isinstance(error, OSError):
        return StoreUnavailable(f"{type(error).__name__}: {error}")
    return RecordsRefused(Refusal(type(error).__name__, "", str(error)), positions=None, certain=True)


def _of_server(error: asyncpg.PostgresError, *, alone: bool, copied: Sequence[int]) -> SinkError:
    match meaning(error, alone=alone):
        case Meaning.OUTAGE:
            # The message only: detail and context may show a record.
            return StoreUnavailable(f"{error.sqlstate} {_message(error)}", alarm=_alarm(error))
        case Meaning.RETRY:
            return WriteConflict(f"{error.sqlstate} {_message(error)}")
        case Meaning.TOO_LARGE:
            return BatchTooLarge(_refusal(error))
        case Meaning.DATA:
            return RecordsRefused(_refusal(error), positions=_named(error, copied), certain=True)
        case Meaning.UNKNOWN:
            return RecordsRefused(_refusal(error), positions=_named(error, copied), certain=False)


def _message(error: asyncpg.PostgresError) -> str:
    return str(error.args[0]) if error.args else type(error).__name__


def _alarm(error: asyncpg.PostgresError) -> str | None:
    code = error.sqlstate or ""
    sentence = ALARMS.get(code) or ALARMS.get(code[:2])
    return f"{sentence} ({code}: {_message(error)})." if sentence else None


def _alarm_of_driver(error: asyncpg.InterfaceError) -> str | None:
    """A lost connection is an outage like any other; whatever else the driver refuses is a fault of ours.

    The driver has one class for both, so its words decide: a lost connection is closed, or has left the pool.
    """
    if any(word in str(error) for word in ("closed", "closing", "released back to the pool")):
        return None
    return f"The PostgreSQL driver refuses what it is asked to do: {error}"


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
