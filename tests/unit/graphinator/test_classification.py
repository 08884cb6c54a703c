"""Every row of the table, and everything that has none. What can be provoked is provoked in test_graph_refusals.py."""

import re
import ssl
from typing import Any

import pytest
from neo4j.exceptions import (
    ConfigurationError,
    ConnectionAcquisitionTimeoutError,
    IncompleteCommit,
    Neo4jError,
    ResultNotSingleError,
    ServiceUnavailable,
    SessionExpired,
    TransactionError,
    UnsupportedServerProduct,
)

from common.errors import BatchTooLarge, RecordsRefused, SinkError, StoreUnavailable, WriteConflict
from graphinator.classification import STATUSES, TABLE, Meaning, Unpackable, classify, row_of
from graphinator.ledger import LOAD_ERRORS
from graphinator.schema import refusal_of

RETRY, OUTAGE, DATA, UNKNOWN = Meaning.RETRY, Meaning.OUTAGE, Meaning.DATA, Meaning.UNKNOWN
MEMORY, SHARED, RACE = Meaning.TOO_LARGE_OR_DATA, Meaning.TOO_LARGE_OR_OUTAGE, Meaning.RETRY_THEN_DATA
SLOW = SHARED
REFUSED = "connection refused: nothing listens there"
DEADLOCK = "Neo.TransientError.Transaction.DeadlockDetected"
UNAVAILABLE = "Neo.TransientError.General.DatabaseUnavailable"
THRESHOLD = "The allocation of an extra 2.0 MiB would use more than the limit 20.0 MiB. {} threshold reached"

CODES = [
    ("Neo.ClientError.Security.Unauthorized", "", OUTAGE),
    ("Neo.ClientError.Security.AuthenticationRateLimit", "", OUTAGE),
    ("Neo.ClientError.Security.Forbidden", "", OUTAGE),
    ("Neo.ClientError.Security.AuthorizationExpired", "", OUTAGE),
    ("Neo.ClientError.Security.CredentialsExpired", "", OUTAGE),
    ("Neo.ClientError.Security.TokenExpired", "", OUTAGE),
    ("Neo.ClientError.Database.DatabaseNotFound", "", OUTAGE),
    ("Neo.TransientError.Database.DatabaseUnavailable", "", OUTAGE),
    ("Neo.DatabaseError.Database.UnableToStartDatabase", "", OUTAGE),
    ("Neo.TransientError.General.DatabaseUnavailable", "", OUTAGE),
    ("Neo.ClientError.Cluster.NotALeader", "", OUTAGE),
    ("Neo.ClientError.General.ForbiddenOnReadOnlyDatabase", "", OUTAGE),
    ("Neo.ClientError.General.WriteOnReadOnlyAccessDatabase", "", OUTAGE),
    ("Neo.ClientError.Statement.AccessMode", "", OUTAGE),
    ("Neo.TransientError.Transaction.DeadlockDetected", "", RETRY),
    ("Neo.ClientError.Statement.EntityNotFound", "", RETRY),
    ("Neo.TransientError.Transaction.LockClientStopped", "", RETRY),
    ("Neo.ClientError.Transaction.LockClientStopped", "", RETRY),
    ("Neo.TransientError.Transaction.LockAcquisitionTimeout", "", RETRY),
    ("Neo.TransientError.Transaction.Outdated", "", RETRY),
    ("Neo.TransientError.Transaction.Terminated", "", RETRY),
    ("Neo.ClientError.Transaction.Terminated", "", RETRY),
    ("Neo.TransientError.Transaction.ConstraintsChanged", "", RETRY),
    ("Neo.TransientError.Network.CommunicationError", "", RETRY),
    ("Neo.TransientError.General.OutOfMemoryError", "", RETRY),
    ("Neo.TransientError.Request.NoThreadsAvailable", "", RETRY),
    ("Neo.ClientError.Schema.ConstraintValidationFailed", "Node(1) already exists with label `Artist`", RACE),
    (
        "Neo.ClientError.Schema.ConstraintValidationFailed",
        "Cannot delete node<1>, because it still has relationships",
        RETRY,
    ),
    ("Neo.ClientError.Schema.ConstraintValidationFailed", "Node(1) must have the property `x`", UNKNOWN),
    (
        "Neo.TransientError.General.MemoryPoolOutOfMemoryError",
        THRESHOLD.format("db.memory.transaction.max"),
        MEMORY,
    ),
    (
        "Neo.TransientError.General.MemoryPoolOutOfMemoryError",
        THRESHOLD.format("db.memory.transaction.total.max"),
        SHARED,
    ),
    (
        "Neo.TransientError.General.MemoryPoolOutOfMemoryError",
        THRESHOLD.format("dbms.memory.transaction.total.max"),
        SHARED,
    ),
    ("Neo.TransientError.General.MemoryPoolOutOfMemoryError", "some other pool", SHARED),
    ("Neo.TransientError.General.TransactionOutOfMemoryError", "", MEMORY),
    ("Neo.TransientError.General.StackOverFlowError", "", MEMORY),
    ("Neo.DatabaseError.General.StackOverFlowError", "", MEMORY),
    ("Neo.ClientError.Transaction.TransactionTimedOut", "", SLOW),
    ("Neo.ClientError.Transaction.TransactionTimedOutClientConfiguration", "", SLOW),
    ("Neo.ClientError.Statement.TypeError", "", DATA),
    ("Neo.ClientError.Statement.SemanticError", "Cannot merge because of null property value for 'id'", DATA),
    ("Neo.ClientError.Statement.SemanticError", "Cannot merge because of NaN property value for 'id'", DATA),
    ("Neo.ClientError.Statement.SemanticError", "something else", UNKNOWN),
    ("Neo.ClientError.Statement.ArithmeticError", "", DATA),
    ("Neo.ClientError.Statement.PropertyTypeError", "", DATA),
    ("Neo.DatabaseError.Statement.ExecutionFailed", "Property value is too large to index", DATA),
    ("Neo.DatabaseError.Statement.ExecutionFailed", "No space left on device", UNKNOWN),
    ("Neo.ClientError.Statement.SyntaxError", "", OUTAGE),
    ("Neo.ClientError.Statement.ParameterMissing", "", OUTAGE),
    ("Neo.ClientError.Procedure.ProcedureNotFound", "", OUTAGE),
    ("Neo.ClientError.Schema.IndexNotFound", "", OUTAGE),
    ("Neo.DatabaseError.Schema.IndexNotFound", "", OUTAGE),
    ("Neo.DatabaseError.Transaction.TransactionCommitFailed", "", UNKNOWN),
    ("Neo.DatabaseError.General.UnknownError", "", UNKNOWN),
    ("Neo.ClientError.Request.Invalid", "", UNKNOWN),
    ("Neo.ClientError.Nonsense.Security", "", UNKNOWN),
    ("", "", UNKNOWN),
]


# What Neo4j 2026.09 was seen to say: the statuses of the error and of its cause.
STATUSES_SEEN = [
    (("22N79", "22N80"), "", RACE),
    (("22N79",), "", RACE),
    (("G1001",), "", RETRY),
    (("22G03", "22N31"), "", DATA),
    (("22G03", "22N01"), "", DATA),
    (("22G03", "22N39"), "", DATA),
    (("22012", "22N28"), "", DATA),
    (("51N72",), "See db.memory.transaction.max in the neo4j.conf file.", MEMORY),
    (("51N72",), "See dbms.memory.transaction.total.max in the neo4j.conf file.", SHARED),
    (("51N72",), "See db.memory.transaction.total.max in the neo4j.conf file.", SHARED),
    (("51N73",), "", MEMORY),
    (("50N42",), "", UNKNOWN),
    (("50N00",), "", UNKNOWN),
]


def server_error(code: str, message: str = "") -> Neo4jError:
    """An error as the driver makes it of a server's answer."""
    return Neo4jError._hydrate_neo4j(code=code, message=message)  # the driver offers no public way


def error_of_today(statuses: tuple[str, ...], description: str, code: str = "Neo.ClientError.Other.Code") -> Neo4jError:
    """An error as the driver makes it of the answer of a server that gives a GQLSTATUS."""
    said: dict[str, Any] = {}
    for status in reversed(statuses):
        said = {"gql_status": status, "description": f"error: {description}", "message": "words"} | (
            {"cause": said} if said else {}
        )
    return Neo4jError._hydrate_gql(neo4j_code=code, **said)


def meaning_of(error: Exception) -> Meaning:
    return row_of(error).meaning


@pytest.mark.parametrize(("code", "message", "meaning"), CODES)
def test_a_code_means(code: str, message: str, meaning: Meaning) -> None:
    assert meaning_of(server_error(code, message)) is meaning


@pytest.mark.parametrize(("statuses", "description", "meaning"), STATUSES_SEEN)
def test_a_status_means_whatever_the_code_is(statuses: tuple[str, ...], description: str, meaning: Meaning) -> None:
    assert meaning_of(error_of_today(statuses, description)) is meaning


def test_a_status_that_says_nothing_leaves_it_to_the_code() -> None:
    error = error_of_today(("50N42",), "", code="Neo.TransientError.Transaction.DeadlockDetected")

    assert meaning_of(error) is RETRY


def test_every_row_of_statuses_is_claimed_by_one() -> None:
    claimed = {id(row_of(error_of_today(statuses, description))) for statuses, description, _ in STATUSES_SEEN}

    assert [row for row in STATUSES if id(row) not in claimed] == []


def test_every_row_of_the_table_is_claimed_by_a_code() -> None:
    """Fault 9."""
    claimed = {id(row_of(server_error(code, message))) for code, message, _ in CODES}

    assert [row for row in TABLE if id(row) not in claimed] == []


def test_every_pattern_is_one() -> None:
    for row in (*TABLE, *STATUSES):
        re.compile(row.code)
        re.compile(row.message)


@pytest.mark.parametrize(
    ("error", "meaning"),
    [
        (ServiceUnavailable("gone"), OUTAGE),
        (IncompleteCommit("gone"), OUTAGE),
        (SessionExpired("gone"), OUTAGE),
        (ConnectionAcquisitionTimeoutError("none free"), OUTAGE),
        (ConnectionResetError(), OUTAGE),
        (ssl.SSLError(), OUTAGE),
        (TimeoutError(), OUTAGE),
        (ConfigurationError("no such scheme"), OUTAGE),
        (Unpackable("OverflowError while packing"), DATA),
        (TransactionError(None, "failed"), UNKNOWN),
        (ResultNotSingleError(None, "two rows"), UNKNOWN),
    ],
)
def test_a_driver_error_means(error: Exception, meaning: Meaning) -> None:
    assert meaning_of(error) is meaning


# What the meanings become


def test_a_retry_is_a_conflict_for_a_record_alone_too() -> None:
    assert isinstance(classify(server_error("Neo.TransientError.Transaction.Outdated"), alone=True), WriteConflict)


@pytest.mark.parametrize(
    ("alone", "again", "expected"),
    [
        (False, False, WriteConflict),
        (False, True, WriteConflict),
        (True, False, WriteConflict),
        (True, True, RecordsRefused),
    ],
)
def test_a_constraint_is_a_race_until_a_record_meets_it_alone_and_again(
    alone: bool, again: bool, expected: type[SinkError]
) -> None:
    error = server_error("Neo.ClientError.Schema.ConstraintValidationFailed", "already exists")

    assert type(classify(error, alone=alone, again=again)) is expected


@pytest.mark.parametrize("limit", ["db.memory.transaction.max", "dbms.memory.transaction.total.max"])
def test_only_the_memory_limit_of_one_transaction_alone_says_something_of_a_record(limit: str) -> None:
    """Fault 77: what all transactions share may be used up by others."""
    error = server_error("Neo.TransientError.General.MemoryPoolOutOfMemoryError", THRESHOLD.format(limit))
    alone = classify(error, alone=True)

    assert isinstance(classify(error), BatchTooLarge)
    if "total" in limit:
        assert isinstance(alone, StoreUnavailable)
        assert limit in (alone.alarm or "")
    else:
        assert isinstance(alone, RecordsRefused)
        assert alone.certain


def test_a_timeout_for_a_batch_is_too_large_and_for_a_record_alone_an_outage_with_an_alarm() -> None:
    error = server_error("Neo.ClientError.Transaction.TransactionTimedOut")
    alone = classify(error, alone=True)

    assert isinstance(classify(error), BatchTooLarge)
    assert isinstance(alone, StoreUnavailable)
    assert "NEO4J_TRANSACTION_TIMEOUT" in (alone.alarm or "")


def test_data_is_refused_for_certain_and_names_class_code_and_text() -> None:
    refused = classify(server_error("Neo.ClientError.Statement.TypeError", "Property values can only be of …"))

    assert isinstance(refused, RecordsRefused)
    assert (refused.certain, refused.positions) == (True, None)
    assert refused.refusal.error_class == "CypherTypeError"
    assert refused.refusal.code == "Neo.ClientError.Statement.TypeError"
    assert "Property values can only be of" in refused.refusal.text


def test_what_is_unknown_is_refused_with_doubt() -> None:
    """Fault 9."""
    refused = classify(server_error("Neo.DatabaseError.General.UnknownError", "No space left on device"))

    assert isinstance(refused, RecordsRefused)
    assert (refused.certain, refused.positions) == (False, None)


def test_a_login_that_is_refused_is_an_outage_that_names_the_variables() -> None:
    outage = classify(server_error("Neo.ClientError.Security.Forbidden"))

    assert isinstance(outage, StoreUnavailable)
    assert "NEO4J_USERNAME" in (outage.alarm or "")
    assert "Neo.ClientError.Security.Forbidden" in (outage.alarm or "")


def test_a_wrong_password_is_not_tried_again_soon_and_a_lock_out_is_the_same_complaint() -> None:
    """Fault 85: each try with the old password would lock the right one out for another 5 s."""
    wrong = classify(server_error("Neo.ClientError.Security.Unauthorized"))
    locked = classify(server_error("Neo.ClientError.Security.AuthenticationRateLimit"))

    assert isinstance(wrong, StoreUnavailable) and isinstance(locked, StoreUnavailable)
    assert wrong.pause == (30.0, 60.0)
    assert locked.pause is not None and locked.pause[0] >= 5.5
    assert wrong.alarm == locked.alarm
    assert "NEO4J_PASSWORD_FILE" in (wrong.alarm or "")


def test_a_lost_connection_is_an_outage_without_an_alarm() -> None:
    outage = classify(ServiceUnavailable("Couldn't connect to\n127.0.0.1:7687"))

    assert isinstance(outage, StoreUnavailable)
    assert outage.alarm is None


def unrouted(*members: Exception) -> ServiceUnavailable:
    """As the driver says that no router answers: what each said is in a group."""
    error = ServiceUnavailable("Unable to retrieve routing information")
    error.__cause__ = ExceptionGroup("routers", list(members))
    return error


def test_what_is_wrong_with_the_certificates_of_all_routers_has_an_alarm() -> None:
    flaw = ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] self-signed certificate")
    flaw.verify_code, flaw.verify_message = 18, "self-signed certificate"

    outage = classify(unrouted(flaw))

    assert isinstance(outage, StoreUnavailable)
    assert outage.alarm is not None and "NEO4J_TLS_CA_FILE" in outage.alarm


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ServiceUnavailable("Couldn't connect to x:1 (resolved to ()):\n(reason [Errno 111] Connect call …)"), REFUSED),
        (SessionExpired("Failed to read from defunct connection IPv4Address(('x', 1))"), "the connection was lost"),
        (ServiceUnavailable("Couldn't connect to x:1"), "it takes no connection"),
        (
            UnsupportedServerProduct("The neo4j server does not support communication with this driver. This driver …"),
            "what answers is no Neo4j, or none that the driver knows",
        ),
        (unrouted(ConnectionRefusedError(111, "Connect call failed")), REFUSED),
        (unrouted(OSError("no idea")), "no member of the cluster tells where to write"),
        (ConnectionAcquisitionTimeoutError("failed to obtain a connection from the pool"), "no answer in time"),
        (ConnectionResetError(104, "Connection reset by peer"), "the connection was lost"),
        (TimeoutError("no answer within 65 s"), "no answer within 65 s"),
        (server_error(DEADLOCK), f"deadlock detected ({DEADLOCK})"),
        (server_error(UNAVAILABLE), f"database unavailable ({UNAVAILABLE})"),
    ],
)
def test_what_is_the_matter_is_said_in_an_operators_words(error: Exception, words: str) -> None:
    assert str(classify(error)) == words


def test_what_the_server_says_of_a_record_is_not_in_the_sentence_for_the_log() -> None:
    error = server_error("Neo.ClientError.Statement.TypeError", "name is 'a secret of the record'")

    assert "secret" not in str(classify(error))


def test_of_what_could_not_be_sent_the_refusal_tells_the_cause() -> None:
    error = Unpackable("while packing")
    error.__cause__ = OverflowError("Integer out of bounds")

    refused = classify(error)

    assert isinstance(refused, RecordsRefused)
    assert (refused.refusal.error_class, refused.refusal.text) == ("OverflowError", "Integer out of bounds")


@pytest.mark.parametrize(
    ("error", "what"),
    [
        (server_error(DEADLOCK, "the record's text"), f"TransientError {DEADLOCK}"),
        (ServiceUnavailable("Couldn't connect to x:1"), "ServiceUnavailable"),
        (ConnectionResetError(104, "Connection reset by peer"), "ConnectionResetError"),
    ],
)
def test_what_the_ledger_keeps_of_an_error_is_its_class_and_code(error: Exception, what: str) -> None:
    assert classify(error).what == what


def test_a_user_who_may_not_make_the_constraint_of_a_newer_ledger_is_told_the_statement() -> None:
    sentence = refusal_of(server_error("Neo.ClientError.Security.Forbidden"), [LOAD_ERRORS])

    assert "may not create constraints" in sentence
    assert "CREATE CONSTRAINT spindleerrors_key IF NOT EXISTS FOR (n:SpindleErrors) REQUIRE n.key IS UNIQUE" in sentence


@pytest.mark.parametrize(("code", "message"), sorted({(code, message) for code, message, _ in CODES}))
def test_whatever_an_error_means_its_code_is_kept(code: str, message: str) -> None:
    error = server_error(code, message)

    for alone, again in ((False, False), (True, True)):
        assert classify(error, alone=alone, again=again).code == error.code
