"""What an error of Neo4j or of its driver means, as a table.

The first row that fits decides; what fits none is unknown, which has its own safe rule. Too broad a row on one side
retries a bad record for ever, on the other it drains healthy records into the dead letters during an outage.
"""

import re
from dataclasses import dataclass
from enum import Enum, auto

from neo4j.exceptions import (
    ConfigurationError,
    ConnectionPoolError,
    Neo4jError,
    ServiceUnavailable,
    SessionExpired,
)

from common.errors import BatchTooLarge, RecordsRefused, Refusal, SinkError, StoreUnavailable, WriteConflict
from common.settings.certificates import Peer, what_is_wrong
from graphinator.settings import Neo4jSettings

PEER = Peer(Neo4jSettings.store_name, "NEO4J", "NEO4J_URI")


class Meaning(Enum):
    """What is to be done about an error."""

    RETRY = auto()
    RETRY_THEN_DATA = auto()  # of a record alone, the second time: the record's fault
    OUTAGE = auto()
    TOO_LARGE_OR_DATA = auto()  # of a record alone: it will never fit
    TOO_LARGE_OR_OUTAGE = auto()  # of a record alone: the server is slow, not the record large
    DATA = auto()
    UNKNOWN = auto()


@dataclass(frozen=True, slots=True)
class Row:
    """Errors of one meaning. `code` matches whole codes without the leading `Neo.`; `message` any part of the text."""

    code: str
    meaning: Meaning
    message: str = ""
    alarm: str | None = None


_LOGIN = "Neo4j refuses the login or the right to write: look at NEO4J_USERNAME, NEO4J_PASSWORD and the user's roles"
_DATABASE = "Neo4j can't serve the database: look at NEO4J_DATABASE and at the server's log"
_READ_ONLY = "Neo4j takes no writes here: look at NEO4J_URI (a follower?) and at the database's access mode"
_SCHEMA = "Neo4j doesn't understand our statements: its version, its procedures or its constraints are not as expected"
_SLOW = "Neo4j can't write a single record within NEO4J_TRANSACTION_TIMEOUT: look at the server's load and locks"

# In this order: what is named stands before the families (`TransientError.*`) that it is an exception from.
TABLE = (
    Row(r"\w+\.Security\..*", Meaning.OUTAGE, alarm=_LOGIN),
    Row(r"\w+\.Database\..*", Meaning.OUTAGE, alarm=_DATABASE),
    Row(r"\w+\.General\.DatabaseUnavailable", Meaning.OUTAGE),
    Row(r"\w+\.Cluster\.NotALeader", Meaning.OUTAGE, alarm=_READ_ONLY),
    Row(r"\w+\.General\.ForbiddenOnReadOnlyDatabase", Meaning.OUTAGE, alarm=_READ_ONLY),
    Row(r"\w+\.General\.WriteOnReadOnlyAccessDatabase", Meaning.OUTAGE, alarm=_READ_ONLY),
    Row(r"\w+\.Statement\.AccessMode", Meaning.OUTAGE, alarm=_READ_ONLY),
    Row(r"\w+\.Transaction\.DeadlockDetected", Meaning.RETRY),
    Row(r"\w+\.Transaction\.LockClientStopped", Meaning.RETRY),
    Row(r"\w+\.Transaction\.LockAcquisitionTimeout", Meaning.RETRY),
    Row(r"\w+\.Transaction\.Outdated", Meaning.RETRY),
    # Somebody, or the server while it shuts down, has ended the transaction.
    Row(r"\w+\.Transaction\.Terminated", Meaning.RETRY),
    # A target has been removed between finding it and leading an edge to it.
    Row(r"\w+\.Statement\.EntityNotFound", Meaning.RETRY),
    Row(r"\w+\.Schema\.ConstraintValidationFailed", Meaning.RETRY_THEN_DATA, message="already exists"),
    # The same code, of a deletion: another writer has just added an edge.
    Row(r"\w+\.Schema\.ConstraintValidationFailed", Meaning.RETRY, message="still has relationships"),
    Row(r"\w+\.General\.MemoryPoolOutOfMemoryError", Meaning.TOO_LARGE_OR_DATA),
    Row(r"\w+\.General\.TransactionOutOfMemoryError", Meaning.TOO_LARGE_OR_DATA),
    Row(r"\w+\.General\.StackOverFlowError", Meaning.TOO_LARGE_OR_DATA),
    Row(r"\w+\.Transaction\.TransactionTimedOut\w*", Meaning.TOO_LARGE_OR_OUTAGE, alarm=_SLOW),
    Row(r"\w+\.Statement\.TypeError", Meaning.DATA),
    Row(r"\w+\.Statement\.SemanticError", Meaning.DATA, message=r"\b(null|NaN)\b"),
    Row(r"\w+\.Statement\.ArithmeticError", Meaning.DATA),
    Row(r"\w+\.Statement\.PropertyTypeError", Meaning.DATA),
    Row(r"DatabaseError\.Statement\.ExecutionFailed", Meaning.DATA, message="too large to index"),
    Row(r"\w+\.Statement\.SyntaxError", Meaning.OUTAGE, alarm=_SCHEMA),
    Row(r"\w+\.Statement\.ParameterMissing", Meaning.OUTAGE, alarm=_SCHEMA),
    Row(r"\w+\.Procedure\.ProcedureNotFound", Meaning.OUTAGE, alarm=_SCHEMA),
    Row(r"\w+\.Schema\.IndexNotFound", Meaning.OUTAGE, alarm=_SCHEMA),
    Row(r"TransientError\..*", Meaning.RETRY),
)
_UNKNOWN = Row("", Meaning.UNKNOWN)


class Unpackable(Exception):
    """A value that the driver can't send (a number beyond 64 bits, half of a surrogate pair): nothing was sent."""


def classify(error: Exception, *, alone: bool = False, again: bool = False) -> SinkError:
    """Translate an error of the driver; pure.

    `alone`: it was raised for a batch of one record; `again`: for the same batch a second time.
    """
    row = row_of(error)
    refusal = _refusal(error)
    match row.meaning:
        case Meaning.RETRY:
            return WriteConflict(_sentence(refusal))
        case Meaning.RETRY_THEN_DATA:
            return _refused(refusal) if alone and again else WriteConflict(_sentence(refusal))
        case Meaning.TOO_LARGE_OR_DATA:
            return _refused(refusal) if alone else BatchTooLarge(refusal)
        case Meaning.TOO_LARGE_OR_OUTAGE:
            return _outage(refusal, row.alarm) if alone else BatchTooLarge(refusal)
        case Meaning.OUTAGE:
            return _outage(refusal, row.alarm)
        case Meaning.DATA:
            return _refused(refusal)
        case Meaning.UNKNOWN:
            return RecordsRefused(refusal, positions=None, certain=False)


def row_of(error: Exception) -> Row:
    """The row that decides about an error."""
    if isinstance(error, Neo4jError):
        return _row_of_code(error.code or "", error.message or "")
    if isinstance(error, Unpackable):
        return Row("", Meaning.DATA)
    if isinstance(error, ConfigurationError):
        return Row("", Meaning.OUTAGE, alarm="Neo4j can't be used as it is configured: look at NEO4J_URI")
    if isinstance(error, ServiceUnavailable | SessionExpired | ConnectionPoolError | OSError | EOFError):
        return Row("", Meaning.OUTAGE, alarm=_about_tls(error))  # TimeoutError and the errors of TLS are OSErrors
    return _UNKNOWN


def is_constraint_race(error: Exception) -> bool:
    """Whether it may be over when tried again, and is the record's fault if not."""
    return row_of(error).meaning is Meaning.RETRY_THEN_DATA


def _about_tls(error: Exception) -> str | None:
    what = what_is_wrong(error, PEER)
    return f"{PEER.name} {what}" if what else None


def _row_of_code(code: str, message: str) -> Row:
    title = code.removeprefix("Neo.")
    for row in TABLE:
        if re.fullmatch(row.code, title) and re.search(row.message, message):
            return row
    return _UNKNOWN


def _refusal(error: Exception) -> Refusal:
    if isinstance(error, Neo4jError):
        return Refusal(type(error).__name__, error.code or "", error.message or "")
    said = error.__cause__ if isinstance(error, Unpackable) and error.__cause__ else error
    return Refusal(type(said).__name__, "", str(said))


def _refused(refusal: Refusal) -> RecordsRefused:
    return RecordsRefused(refusal, positions=None, certain=True)


def _outage(refusal: Refusal, alarm: str | None) -> StoreUnavailable:
    return StoreUnavailable(_sentence(refusal), alarm=f"{alarm} ({refusal.code})" if alarm and refusal.code else alarm)


def _sentence(refusal: Refusal) -> str:
    """What may be logged: of the server's errors class and code only, since their text may repeat the record's."""
    text = refusal.code or " ".join(refusal.text.split())[:200]
    return f"Neo4j: {refusal.error_class} {text}".rstrip()
