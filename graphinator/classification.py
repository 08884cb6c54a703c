"""What an error of Neo4j or of its driver means, as two tables.

A GQLSTATUS decides first: Neo4j promises to keep those, and may change its texts at any time. What has none that says
anything (5.26 gives most errors the same one) is decided by its code, and in three rows by its text. The first row that
fits decides; what fits none is unknown, which has its own safe rule. Too broad a row on one side retries a bad record
forever, on the other it drains healthy records into the dead letters during an outage.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto

from neo4j.exceptions import (
    ConfigurationError,
    ConnectionPoolError,
    GqlError,
    Neo4jError,
    ServiceUnavailable,
    SessionExpired,
)

from common.errors import BatchTooLarge, RecordsRefused, Refusal, SinkError, StoreUnavailable, WriteConflict
from common.network.failures import LOST, NO_ANSWER, in_words
from common.settings.certificates import Peer, causes, what_is_wrong
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
    """Errors of one meaning. `code` matches whole codes without the leading `Neo.`, or in `STATUSES` a whole GQLSTATUS.

    `message` matches any part of the text. `pause`: from and to how many seconds to wait before the next attempt.
    `names_code`: whether the alarm ends with the code; if not, errors of several codes are one complaint.
    """

    code: str
    meaning: Meaning
    message: str = ""
    alarm: str | None = None
    pause: tuple[float, float] | None = None
    names_code: bool = True


_REFUSED_LOGIN = (
    "Neo4j refuses the login: look at NEO4J_USERNAME, and NEO4J_PASSWORD or what stands in the file of "
    "NEO4J_PASSWORD_FILE, which is read again before the next attempt"
)
_LOGIN = "Neo4j refuses the login or the right to write: look at NEO4J_USERNAME, NEO4J_PASSWORD and the user's roles"
_DATABASE = "Neo4j can't serve the database: look at NEO4J_DATABASE and at the server's log"
_READ_ONLY = "Neo4j takes no writes here: look at NEO4J_URI (a follower?) and at the database's access mode"
_SCHEMA = "Neo4j doesn't understand our statements: its version, its procedures or its constraints are not as expected"
_MEMORY = (
    "Neo4j's memory for all transactions together is used up, by others too: look at SHOW TRANSACTIONS, and at "
    "dbms.memory.transaction.total.max and db.memory.transaction.total.max"
)
_CONSTRAINT = "Neo4j has a constraint that is not ours and that a record breaks: look at SHOW CONSTRAINTS"
_LEDGER = (
    "Neo4j has a constraint that refuses the ledger's nodes (:SpindleProgress, :SpindleErrors): "
    "look at SHOW CONSTRAINTS"
)
_SLOW = "Neo4j can't write a single record within NEO4J_TRANSACTION_TIMEOUT: look at the server's load and locks"

# After three wrong logins Neo4j refuses the right one too, for 5 s from the last one on. So the wrong one is not tried
# until everybody who knows the right one has had several chances.
WRONG_PASSWORD_PAUSE = (30.0, 60.0)
LOCKED_OUT_PAUSE = (5.5, 8.0)

# The limit of one transaction. The two limits that all share have `total` in their names.
_OWN_LIMIT = r"\bdb\.memory\.transaction\.max\b"

# An error and its causes have statuses. The most specific one stands last, and decides first.
STATUSES = (
    Row("22N79|22N80", Meaning.RETRY_THEN_DATA),  # uniqueness
    Row("G1001", Meaning.RETRY),  # a deletion: another writer has just added an edge
    Row("22N31", Meaning.DATA),  # a key that is null
    Row("22G03|22N01|22N39", Meaning.DATA),  # a value that can't be a property
    Row("22012|22N28", Meaning.DATA),
    Row("51N72", Meaning.TOO_LARGE_OR_DATA, message=_OWN_LIMIT),
    Row("51N72", Meaning.TOO_LARGE_OR_OUTAGE, alarm=_MEMORY),
    Row("51N73", Meaning.TOO_LARGE_OR_DATA),
)

# In this order: what is named stands before the families (`TransientError.*`) that it is an exception from.
TABLE = (
    Row(
        r"\w+\.Security\.Unauthorized",
        Meaning.OUTAGE,
        alarm=_REFUSED_LOGIN,
        pause=WRONG_PASSWORD_PAUSE,
        names_code=False,
    ),
    Row(
        r"\w+\.Security\.AuthenticationRateLimit",
        Meaning.OUTAGE,
        alarm=_REFUSED_LOGIN,
        pause=LOCKED_OUT_PAUSE,
        names_code=False,
    ),
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
    Row(r"\w+\.Schema\.ConstraintValidationFailed", Meaning.UNKNOWN, alarm=_CONSTRAINT),
    Row(r"\w+\.General\.MemoryPoolOutOfMemoryError", Meaning.TOO_LARGE_OR_DATA, message=_OWN_LIMIT),
    Row(r"\w+\.General\.MemoryPoolOutOfMemoryError", Meaning.TOO_LARGE_OR_OUTAGE, alarm=_MEMORY),
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


# Sentences of the driver's, of which some have no cause.
_DRIVERS_WORDS = (
    (r"acquisition|obtain a connection", NO_ANSWER),
    (r"outing", "no member of the cluster tells where to write"),
    (r"defunct|closed|No data|ncomplete", LOST),
    (r"ouldn't connect|establish connection|handshake", "it takes no connection"),
    (r"not support communication", "what answers is no Neo4j, or none that the driver knows"),
)


class Unpackable(Exception):
    """A value that the driver can't send (a number beyond 64 bits, half of a surrogate pair): nothing was sent."""


_OF_THE_LEDGER = re.compile(r"Node\(\d+\) (already exists )?with label `Spindle\w+`")
"""How the server begins to say that a constraint, ours or another's, refuses a node of the ledger."""


def _is_of_the_ledger(error: Exception) -> bool:
    return isinstance(error, Neo4jError) and _OF_THE_LEDGER.match(error.message or "") is not None


def classify(error: Exception, *, alone: bool = False, again: bool = False) -> SinkError:
    """Translate an error of the driver; pure.

    `alone`: it was raised for a batch of one record; `again`: for the same batch a second time.
    """
    refusal = _refusal(error)
    problem = _meant(error, refusal, alone=alone, again=again)
    problem.error_class, problem.code = refusal.error_class, refusal.code
    return problem


def _meant(error: Exception, refusal: Refusal, *, alone: bool, again: bool) -> SinkError:
    row = row_of(error)
    match row.meaning:
        case Meaning.RETRY:
            return WriteConflict(_sentence(refusal))
        case Meaning.RETRY_THEN_DATA:
            return _refused(refusal) if alone and again else WriteConflict(_sentence(refusal))
        case Meaning.TOO_LARGE_OR_DATA:
            return _refused(refusal) if alone else BatchTooLarge(refusal)
        case Meaning.TOO_LARGE_OR_OUTAGE:
            return _outage(refusal, row) if alone else BatchTooLarge(refusal)
        case Meaning.OUTAGE:
            return _outage(refusal, row) if refusal.code else StoreUnavailable(_of_driver(error), alarm=row.alarm)
        case Meaning.DATA:
            return _refused(refusal)
        case Meaning.UNKNOWN:
            return RecordsRefused(refusal, positions=None, certain=False)


def row_of(error: Exception) -> Row:
    """The row that decides about an error."""
    if _is_of_the_ledger(error):
        return Row("", Meaning.OUTAGE, alarm=_LEDGER)
    if isinstance(error, Neo4jError):
        return _row_of_status(error) or _row_of_code(error.code or "", error.message or "")
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


def says_not_here(error: Exception) -> bool:
    """Whether another connection may find what this one's server is not: the name may lead to another one by now."""
    return row_of(error).alarm == _READ_ONLY


def _about_tls(error: Exception) -> str | None:
    what = what_is_wrong(error, PEER)
    return f"{PEER.name} {what}" if what else None


def _row_of_status(error: GqlError) -> Row | None:
    for status, text in reversed(list(_statuses(error))):
        for row in STATUSES:
            if re.fullmatch(row.code, status) and re.search(row.message, text):
                return row
    return None


def _statuses(error: BaseException | None) -> Iterator[tuple[str, str]]:
    """The GQLSTATUS of an error and of each of its causes, with all that is said beside it."""
    while isinstance(error, GqlError):
        yield error.gql_status, f"{error.message or ''} {error.gql_status_description}"
        error = error.__cause__


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


def _outage(refusal: Refusal, row: Row) -> StoreUnavailable:
    alarm = f"{row.alarm} ({refusal.code})" if row.alarm and row.names_code and refusal.code else row.alarm
    return StoreUnavailable(_sentence(refusal), alarm=alarm, pause=row.pause)


def _sentence(refusal: Refusal) -> str:
    """What may be logged of what the server says: its code, as words. Its text may repeat the record's."""
    title = refusal.code.rpartition(".")[2]
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", title).lower() or "it refuses, and does not say why"
    return f"{words} ({refusal.code})" if refusal.code else words


def _of_driver(error: Exception) -> str:
    """What is the matter if it is not the server who says it. The driver's text is about its sockets and its pool."""
    for cause in causes(error):
        if words := in_words(cause):
            return words
    text = " ".join(str(error).split())
    return next((words for pattern, words in _DRIVERS_WORDS if re.search(pattern, text)), text[:200]) or LOST
