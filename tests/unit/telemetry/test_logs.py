"""Logs: the line that operators grep for, one line per event, no secret in any format."""

import asyncio
import json
import logging
import re
import warnings
from collections.abc import Iterator

import aiormq
import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.settings.programs import LogFormat
from common.telemetry.logs import configure, redact

BATCH_LINE = "Batch processed data_type=artists batch_size=500 duration_ms=487 records_per_sec=1026"

log = structlog.get_logger()


@pytest.fixture(autouse=True)
def restored_logging() -> Iterator[None]:
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    root.handlers.clear()  # or they would be closed
    yield
    logging.captureWarnings(False)
    root.setLevel(level)
    root.handlers[:] = handlers
    structlog.reset_defaults()


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.splitlines()


def fail(text: str) -> None:
    raise ConnectionError(text)


def test_the_batch_line_is_byte_exact_behind_time_level_and_service(capsys: pytest.CaptureFixture[str]) -> None:
    configure("tableinator", log_format=LogFormat.LOGFMT)

    log.info("Batch processed", data_type="artists", batch_size=500, duration_ms=487, records_per_sec=1026)

    [line] = lines(capsys)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z info tableinator " + re.escape(BATCH_LINE), line)


def test_without_a_terminal_the_format_is_logfmt(capsys: pytest.CaptureFixture[str]) -> None:
    configure("tableinator")

    log.info("Batch processed", data_type="artists", batch_size=500, duration_ms=487, records_per_sec=1026)

    assert lines(capsys)[0].endswith(BATCH_LINE)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(event=st.text(), value=st.none() | st.booleans() | st.text() | st.lists(st.text()))
def test_an_event_is_one_line_whatever_it_holds(capsys: pytest.CaptureFixture[str], event: str, value: object) -> None:
    configure("tableinator", log_format=LogFormat.LOGFMT)

    log.info(event, value=value, last=1)

    [line] = lines(capsys)
    assert line.endswith(" last=1")
    assert not re.search(r"[\x00-\x1f\x7f-\x9f]", line)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("plain", "plain"),
        ("two words", '"two words"'),
        ('say "a=b"', '"say \\"a=b\\""'),
        ("", '""'),
        (None, ""),
        (True, "true"),
        (1.5, "1.5"),
    ],
)
def test_values_are_quoted_where_they_must_be(capsys: pytest.CaptureFixture[str], value: object, written: str) -> None:
    configure("tableinator", log_format=LogFormat.LOGFMT)

    log.info("Event", value=value)

    assert lines(capsys)[0].endswith(f" Event value={written}")


def test_json_lines_are_json(capsys: pytest.CaptureFixture[str]) -> None:
    configure("graphinator", log_format=LogFormat.JSON)

    log.warning("Holding", store="Neo4j", reason='no "route"')

    [line] = lines(capsys)
    assert (
        json.loads(line).items()
        >= {
            "event": "Holding",
            "level": "warning",
            "service": "graphinator",
            "store": "Neo4j",
            "reason": 'no "route"',
        }.items()
    )


def test_less_than_the_level_is_not_logged(capsys: pytest.CaptureFixture[str]) -> None:
    configure("tableinator", level="warning")

    log.info("Not this")
    log.warning("But this")

    assert [line.split(" ", 3)[3] for line in lines(capsys)] == ["But this"]


def test_libraries_are_heard_from_warning_up_in_the_same_format(capsys: pytest.CaptureFixture[str]) -> None:
    configure("tableinator", level="debug", log_format=LogFormat.LOGFMT)

    logging.getLogger("some.library").info("Not this")
    logging.getLogger("some.library").warning("But %s", "this")
    logging.getLogger("neo4j.notifications").warning("Nor this")
    logging.getLogger("neo4j.io").error("Nor that a connection is defunct")
    warnings.warn("and this", DeprecationWarning, stacklevel=1)

    but, also = lines(capsys)
    assert but.endswith(" warning tableinator But this logger=some.library")
    assert "and this" in also


@pytest.mark.parametrize("log_format", list(LogFormat))
def test_a_login_is_masked_wherever_it_stands(capsys: pytest.CaptureFixture[str], log_format: LogFormat) -> None:
    configure("tableinator", log_format=log_format)
    url = "amqp://guest:hu@sh@broker:5672/v"

    try:
        fail(f"no answer from {url}, password=hush")
    except ConnectionError as error:
        log.exception(f"Lost {url}", url=url, error=error, nested={"dsn": [url]})
        logging.getLogger("some.library").exception("Lost %s", url)

    written = capsys.readouterr().err
    assert "://***@broker:5672/v" in written
    assert "hush" not in written and "hu@sh" not in written and "guest" not in written


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("log_format", list(LogFormat))
def test_an_exception_shows_no_local_variables(capsys: pytest.CaptureFixture[str], log_format: LogFormat) -> None:
    configure("tableinator", log_format=log_format)
    password = "hush"

    try:
        [][len(password)]
    except IndexError:
        log.exception("Crashed")

    written = capsys.readouterr().err
    assert "IndexError" in written
    assert "hush" not in written.replace('password = "hush"', "")


async def test_the_broker_library_logs_no_password(capsys: pytest.CaptureFixture[str]) -> None:
    configure("tableinator", level="debug", log_format=LogFormat.LOGFMT)
    logging.getLogger("aiormq").setLevel(logging.DEBUG)
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]

    with pytest.raises(Exception, match=r".") as error:
        await aiormq.connect(f"amqp://guest:hush@127.0.0.1:{port}/")
    log.error("Not connected", error=error.value)

    server.close()
    logging.getLogger("aiormq").setLevel(logging.NOTSET)
    written = capsys.readouterr().err
    assert "aiormq" in written
    assert "hush" not in written


@pytest.mark.parametrize(
    "text",
    ["https://example.org/a?b=c", "mail to a@b.org", 'password authentication failed for user "x"', "12:30 //a"],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact(text) == text
