"""What each of PostgreSQL's errors means, by SQLSTATE, and what an operator is told of it.

The weakest point of any consumer: too broad on one side, a bad record is retried forever; on the other, an outage
drains healthy records into the dead letters. So every class has a place here; what is not named is unknown, and the
rule of evidence decides.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

import asyncpg


class Meaning(StrEnum):
    """What is done about an error; the words of docs/architecture.md."""

    RETRY = "retry"
    OUTAGE = "outage"
    TOO_LARGE = "too large"
    DATA = "data"
    UNKNOWN = "unknown"


_R, _O, _T, _D, _U = Meaning.RETRY, Meaning.OUTAGE, Meaning.TOO_LARGE, Meaning.DATA, Meaning.UNKNOWN

# Every class of PostgreSQL's appendix A. If we are wrong about 22 and the like, quarantine's credit limits the harm.
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
        "42P05": _R,  # a prepared statement of this name exists: a pooler's
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

_OF_A_POOLER: Final = frozenset({"26000", "42P05"})
"""A prepared statement is not there, or there already: the server's session is not the one it was."""

_ELSEWHERE: Final = frozenset({"25006", "57P01", "57P02", "57P03", "57P04", "57P05"})
_ELSEWHERE_BY_CLASS: Final = frozenset({"28", "3D"})
"""What says that this server is not the right one, or no more: after a switchover the old primary is read-only."""

# What PgBouncer says while it waits for its server, which waiting fixes: by the same code, 08P01, as everything else.
_POOLER_WAITS: Final = ("_retry", "timeout", "cannot connect", "conn crashed", "DNS lookup", "shut")

_POOLS_STATEMENTS: Final = "statement pooling mode"

_NO_PART: Final = "A partitioned table in PostgreSQL has no partition for a record's id: make it, or one with DEFAULT"

# What waiting alone does not fix. By code first, then by class.
ALARMS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "08P01": "A connection pooler such as PgBouncer stands before PostgreSQL and refuses: see its log, and "
        "docs/postgresql.md for what works",
        "25006": "PostgreSQL is read-only: end its recovery or read-only mode, or name the primary in POSTGRES_HOST",
        "42501": "PostgreSQL refuses this user a privilege: grant SELECT, INSERT and UPDATE on the tables, "
        "as deploy/grants/postgresql.sql does",
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
    if _finds_no_part(error):
        return Meaning.OUTAGE  # 23514 like a check's refusal, but the table's fault and no record's
    if isinstance(error, asyncpg.InvalidCachedStatementError):
        return Meaning.RETRY  # 0A000 like others, but all it takes is to prepare the statement again
    if alone and code in ALONE:
        return ALONE[code]
    return BY_CODE.get(code) or BY_CLASS.get(code[:2], Meaning.UNKNOWN)


def alarm_sentence(error: asyncpg.PostgresError) -> str | None:
    """What an operator is told; None if waiting fixes it."""
    code = error.sqlstate or ""
    if _finds_no_part(error):
        return _NO_PART
    if code[:2] == "08" and _POOLS_STATEMENTS in str(error):
        return ALARMS["08P01"]  # the driver has another code for it, because the connection is closed too
    if code == "08P01" and any(word in str(error) for word in _POOLER_WAITS):
        return None
    return ALARMS.get(code) or ALARMS.get(code[:2])


def _finds_no_part(error: asyncpg.PostgresError) -> bool:
    # The function's name, because the words follow the server's lc_messages.
    return error.sqlstate == "23514" and error.server_source_function == "ExecFindPartition"


def is_of_a_pooler(error: asyncpg.PostgresError) -> bool:
    """Whether the session's prepared statements are not what they were."""
    return error.sqlstate in _OF_A_POOLER


def ends_sessions(error: asyncpg.PostgresError) -> bool:
    """Whether this server is not the one to write to: the next attempt must connect again."""
    code = error.sqlstate or ""
    return code in _ELSEWHERE or code[:2] in _ELSEWHERE_BY_CLASS
