"""Every class of error that PostgreSQL or its driver can raise has an explicit meaning."""

import ssl

import asyncpg
import pytest

from common.errors import BatchTooLarge, RecordsRefused, SinkError, StoreUnavailable, WriteConflict
from tableinator.classification import ERRORS, classify
from tableinator.sqlstates import ALARMS, BY_CLASS, BY_CODE, Meaning, ends_sessions, is_of_a_pooler, meaning

R, O, T, D, U = Meaning.RETRY, Meaning.OUTAGE, Meaning.TOO_LARGE, Meaning.DATA, Meaning.UNKNOWN  # noqa: E741 - a table

LOST_MIDWAY = "the connection was lost in the middle of an answer"

ALL_SQLSTATES = sorted(
    {
        each.sqlstate
        for each in vars(asyncpg.exceptions).values()
        if isinstance(each, type) and issubclass(each, asyncpg.PostgresError) and each.sqlstate
    }
)

# code, meaning in a batch, meaning alone
EXPECTED = [
    ("08000", O, O),
    ("08003", O, O),
    ("08006", O, O),
    ("57P01", O, O),
    ("57P02", O, O),
    ("57P03", O, O),
    ("57P04", O, O),
    ("57P05", O, O),
    ("53000", O, O),
    ("53100", O, O),
    ("53300", O, O),
    ("53400", O, O),
    ("58000", O, O),
    ("58030", O, O),
    ("F0000", O, O),
    ("HV000", O, O),
    ("28000", O, O),
    ("28P01", O, O),
    ("3D000", O, O),
    ("3F000", O, O),
    ("0A000", O, O),
    ("25006", O, O),
    ("XX001", O, O),
    ("XX002", O, O),
    ("42501", O, O),
    ("42601", O, O),
    ("42703", O, O),
    ("42883", O, O),
    ("42P01", O, O),
    ("40001", R, R),
    ("40003", R, R),
    ("40P01", R, R),
    ("55P03", R, R),
    ("55006", R, R),
    ("72000", R, R),
    ("25P03", R, R),
    ("25P04", R, R),
    ("26000", R, R),
    ("42P05", R, R),
    ("08P01", O, O),
    ("57014", T, O),
    ("53200", T, O),
    ("54001", T, D),
    ("22000", D, D),
    ("22001", D, D),
    ("22003", D, D),
    ("22021", D, D),
    ("22P02", D, D),
    ("22P05", D, D),
    ("23502", D, D),
    ("23505", D, D),
    ("23514", D, D),
    ("44000", D, D),
    ("54000", D, D),
    ("54011", D, D),
    ("21000", U, U),
    ("01000", U, U),
    ("02000", U, U),
    ("03000", U, U),
    ("09000", U, U),
    ("0B000", U, U),
    ("24000", U, U),
    ("25000", U, U),
    ("25P02", U, U),
    ("27000", U, U),
    ("2D000", U, U),
    ("38000", U, U),
    ("39000", U, U),
    ("55000", U, U),
    ("57000", U, U),
    ("P0001", U, U),
    ("XX000", U, U),
    ("ZZ999", U, U),
]


def server_error(code: str, **fields: str) -> asyncpg.PostgresError:
    """An error as the driver makes it of the server's answer: C code, M message, D detail, W context."""
    error: asyncpg.PostgresError = asyncpg.PostgresError.new({"C": code, "M": "what the server says"} | fields)
    return error


@pytest.mark.parametrize(("code", "in_a_batch", "alone"), EXPECTED)
def test_a_code_means_what_the_table_says(code: str, in_a_batch: Meaning, alone: Meaning) -> None:
    error = server_error(code)

    assert (meaning(error, alone=False), meaning(error, alone=True)) == (in_a_batch, alone)


@pytest.mark.parametrize("code", ALL_SQLSTATES)
def test_every_code_that_the_driver_knows_belongs_to_a_class_with_a_place(code: str) -> None:
    """Fault 9."""
    assert code[:2] in BY_CLASS


def test_every_code_named_singly_is_one_of_postgresql() -> None:
    assert set(BY_CODE) <= set(ALL_SQLSTATES) | {"25P04", "57P05"}


def test_a_code_of_no_known_class_is_unknown() -> None:
    """Fault 9."""
    problem = classify(server_error("QQ123"), alone=False)

    assert isinstance(problem, RecordsRefused)
    assert (problem.certain, problem.positions) == (False, None)


def test_an_error_without_a_code_is_unknown() -> None:
    problem = classify(asyncpg.PostgresError("nothing more"), alone=True)

    assert isinstance(problem, RecordsRefused)
    assert not problem.certain


@pytest.mark.parametrize(
    ("code", "kind"),
    [("40P01", WriteConflict), ("57P01", StoreUnavailable), ("57014", BatchTooLarge), ("22P05", RecordsRefused)],
)
def test_a_meaning_becomes_the_failure_that_the_runtime_handles(code: str, kind: type[SinkError]) -> None:
    assert isinstance(classify(server_error(code), alone=False), kind)


def test_data_is_certain() -> None:
    problem = classify(server_error("22P05"), alone=False)

    assert isinstance(problem, RecordsRefused)
    assert problem.certain


def test_a_plan_that_must_not_change_is_prepared_again() -> None:
    error = server_error("0A000", M="cached plan must not change result type", R="RevalidateCachedQuery")

    assert isinstance(classify(error, alone=False), WriteConflict)
    assert isinstance(classify(asyncpg.OutdatedSchemaCacheError("types changed"), alone=False), WriteConflict)


@pytest.mark.parametrize(
    "context",
    [
        "COPY artists, line 2, column data",
        "COPY artists, line 2",
        'JSON data, line 1: {"a":"line 99, COPY artists, line 3"...\nCOPY artists, line 2, column data',
        "JSON-Daten, Zeile 1: {...\nCOPY artists, Zeile 2, Spalte data",
        "COPY artists, 行 2, 列 data",
        "artistsのCOPY、行 2、列 data",
        "COPY artists, строка 2, столбец data",
    ],
)
def test_the_line_of_a_copy_is_a_position_in_the_batch_in_any_language(context: str) -> None:
    problem = classify(server_error("22P05", W=context), alone=False, copied=[4, 0, 3])

    assert isinstance(problem, RecordsRefused)
    assert problem.positions == (0,)


@pytest.mark.parametrize(
    "context",
    [
        "",
        "unnamed portal parameter $3",
        "JSON data, line 1: {",
        "COPY artists, line 0",
        "COPY artists, line 4",
        "COPY artists, column data",
        "COPY artists, line 2, column 7",
    ],
)
def test_a_context_that_names_no_line_names_no_position(context: str) -> None:
    problem = classify(server_error("22P05", W=context), alone=False, copied=[4, 0, 3])

    assert isinstance(problem, RecordsRefused)
    assert problem.positions is None


def test_detail_and_context_go_into_the_refusal() -> None:
    error = server_error("22P05", D="a detail", W="COPY artists, line 1")

    problem = classify(error, alone=True)

    assert isinstance(problem, RecordsRefused)
    assert problem.refusal.error_class == "UntranslatableCharacterError"
    assert problem.refusal.code == "22P05"
    assert problem.refusal.text == "what the server says\na detail\nCOPY artists, line 1"


@pytest.mark.parametrize("code", ["53100", "40P01"])
def test_detail_and_context_stay_out_of_what_is_logged(code: str) -> None:
    problem = classify(server_error(code, D="a secret", W="a secret"), alone=False)

    assert "secret" not in f"{problem}{getattr(problem, 'alarm', '')}"


@pytest.mark.parametrize("code", ["22P05", "57014", "P0001"])
def test_what_a_refused_record_holds_stays_out_of_the_exceptions_text(code: str) -> None:
    problem = classify(server_error(code, M="a secret", D="a secret", W="a secret"), alone=False)

    assert "secret" not in str(problem)


@pytest.mark.parametrize("code", [*(code for code in ALARMS if len(code) == 5), "42703", "28P01", "3D000", "58030"])
def test_what_waiting_does_not_mend_has_an_alarm_that_names_the_code(code: str) -> None:
    problem = classify(server_error(code), alone=True)

    assert isinstance(problem, StoreUnavailable)
    assert problem.alarm is not None
    assert code in problem.alarm


@pytest.mark.parametrize("code", ["08006", "57P01", "57P03", "53300"])
def test_what_passes_by_itself_has_no_alarm(code: str) -> None:
    problem = classify(server_error(code), alone=False)

    assert isinstance(problem, StoreUnavailable)
    assert problem.alarm is None


@pytest.mark.parametrize(
    "error",
    [
        ConnectionRefusedError("refused"),
        ConnectionResetError("reset"),
        TimeoutError(),
        OSError("no route"),
        ssl.SSLError("handshake"),
        asyncpg.InterfaceError("cannot perform operation: connection is closed"),
        asyncpg.InterfaceError("cannot call Connection.fetch(): connection has been released back to the pool"),
        asyncpg.InterfaceError("pool is closing"),
        asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation"),
        asyncpg.ProtocolError("unexpected"),
    ],
)
def test_a_lost_connection_is_an_outage_without_alarm(error: Exception) -> None:
    problem = classify(error, alone=False)

    assert isinstance(problem, StoreUnavailable)
    assert problem.alarm is None
    assert str(problem)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (asyncpg.InternalClientError("cannot switch to state 15; another operation (2) is in progress"), LOST_MIDWAY),
        (asyncpg.InterfaceError("cannot perform operation: connection is closed"), "the connection was lost"),
        (server_error("08006", M="server conn crashed?"), "server conn crashed? (08006)"),
        (asyncpg.ConnectionDoesNotExistError("unexpected connection_lost() call"), "the connection was lost"),
        (
            ConnectionRefusedError(111, "Connect call failed ('127.0.0.1', 1)"),
            "connection refused: nothing listens there",
        ),
        (server_error("57P03", M="the database system is starting up"), "the database system is starting up (57P03)"),
        (server_error("40P01", M="deadlock detected"), "deadlock detected (40P01)"),
    ],
)
def test_what_is_the_matter_is_said_in_an_operators_words(error: Exception, words: str) -> None:
    assert str(classify(error, alone=False)) == words


def test_what_the_driver_can_not_do_is_no_lost_connection_and_needs_a_person() -> None:
    problem = classify(asyncpg.InternalClientError("no binary format encoder for type int2vector"), alone=True)

    assert isinstance(problem, StoreUnavailable)
    assert str(problem) == "the driver can't go on: no binary format encoder for type int2vector"
    assert problem.alarm is not None and "int2vector" in problem.alarm


def test_another_complaint_of_the_driver_is_an_outage_with_an_alarm() -> None:
    problem = classify(asyncpg.InterfaceError("another operation is in progress"), alone=False)

    assert isinstance(problem, StoreUnavailable)
    assert problem.alarm is not None


def test_what_the_driver_can_not_pack_is_data() -> None:
    problem = classify(UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates"), alone=False)

    assert isinstance(problem, RecordsRefused)
    assert (problem.certain, problem.positions) == (True, None)


def test_bugs_are_not_translated() -> None:
    assert not issubclass(TypeError, ERRORS)
    assert not issubclass(ValueError, ERRORS)


# Poolers, and servers that are not the one.


@pytest.mark.parametrize("code", ["26000", "42P05"])
def test_a_prepared_statement_that_is_not_what_it_was_names_the_pooler(code: str) -> None:
    """Fault 70."""
    error = server_error(code)

    assert is_of_a_pooler(error)
    assert "pooler" in str(classify(error, alone=False))


@pytest.mark.parametrize(
    ("words", "alarms"),
    [
        ("unsupported startup parameter: search_path", True),
        ("no such database: spindle", True),
        ("server login has been failing, try again later (server_login_retry)", False),
        ("query_wait_timeout", False),
        ("pgbouncer cannot connect to server", False),
    ],
)
def test_what_a_pooler_refuses_has_an_alarm_and_what_it_waits_for_has_none(words: str, alarms: bool) -> None:
    """Fault 70."""
    problem = classify(server_error("08P01", M=words), alone=False)

    assert isinstance(problem, StoreUnavailable)
    assert (problem.alarm is not None) is alarms
    assert problem.alarm is None or "pooler" in problem.alarm


@pytest.mark.parametrize("code", ["25006", "57P01", "57P02", "57P03", "57P04", "28000", "28P01", "3D000"])
def test_what_says_that_a_server_is_not_the_right_one_ends_sessions(code: str) -> None:
    """Fault 84."""
    assert ends_sessions(server_error(code))


@pytest.mark.parametrize("code", ["22P05", "40P01", "42P01", "53100", "55P03", "57014"])
def test_other_errors_cost_no_session(code: str) -> None:
    assert not ends_sessions(server_error(code))


def test_a_pooler_of_statements_has_an_alarm_by_the_code_of_the_driver_too() -> None:
    words = "connection was closed in the middle of operation: transaction blocks not allowed in statement pooling mode"

    problem = classify(asyncpg.ConnectionDoesNotExistError(words), alone=True)

    assert isinstance(problem, StoreUnavailable)
    assert problem.alarm is not None and "pooler" in problem.alarm


def test_an_error_of_a_file_of_ours_names_the_file() -> None:
    problem = classify(PermissionError(13, "Permission denied", "/etc/key.pem"), alone=False)

    assert isinstance(problem, StoreUnavailable)
    assert problem.alarm is not None and "/etc/key.pem" in problem.alarm


@pytest.mark.parametrize(
    ("error", "what"),
    [
        (server_error("40P01"), "DeadlockDetectedError 40P01"),
        (server_error("57014"), "QueryCanceledError 57014"),
        (server_error("57P01"), "AdminShutdownError 57P01"),
        (server_error("23514"), "CheckViolationError 23514"),
        (ConnectionRefusedError(111, "Connect call failed"), "ConnectionRefusedError"),
        (asyncpg.InterfaceError("connection is closed"), "InterfaceError"),
    ],
)
def test_what_the_ledger_keeps_of_an_error_is_its_class_and_code(error: Exception, what: str) -> None:
    assert classify(error, alone=False).what == what


@pytest.mark.parametrize("code", ["22P05", "40P01", "57P01", "57014", "P0001"])
def test_whatever_an_error_means_its_code_is_kept(code: str) -> None:
    assert classify(server_error(code), alone=False).code == code
