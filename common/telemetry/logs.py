"""One line per event, on standard error: logfmt for machines and grep, console for a terminal, JSON by choice.

A logfmt line is `time level service event key=value …`: the event stands in plain words and the keys keep their order,
so that what operators grep for is a piece of the line. What libraries log goes the same way, from warning up.

Nobody who logs ever waits: see `log_writer`.
"""

import json
import logging
import os
import re
import sys
from collections.abc import MutableMapping
from functools import cache
from typing import Any, TextIO, cast

import structlog
from structlog.typing import Processor

from common.settings.programs import LogFormat
from common.telemetry.log_writer import LogWriter
from common.telemetry.metrics import watch_log

log = structlog.get_logger()

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")  # whatever ends a line or moves a cursor
_PLAIN = re.compile(r'[^\s"=\\]+')
_SECRETS = (
    # Up to the last @ of the word: a password may hold one.
    (re.compile(r"://\S*@"), "://***@"),
    (re.compile(r"\b(password|passwd|pwd)=[^\s&]+", re.IGNORECASE), r"\1=***"),
)


def configure(service: str, *, level: str = "info", log_format: LogFormat | None = None) -> None:
    """Send everything that is logged to standard error, in one format."""
    output = _output()
    if isinstance(output, LogWriter):
        watch_log(service, output)
    shared: list[Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _naming(service),
    ]
    # Exceptions become text here: the console's own way would show local variables, and with them secrets.
    ending: list[Processor] = [structlog.processors.format_exc_info, _renderer(log_format), _redact_line]
    threshold = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[*shared, *ending],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.WriteLoggerFactory(cast("TextIO", output)),  # of a file it needs write and flush
    )
    _configure_libraries(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *ending],
        ),
        max(threshold, logging.WARNING),
        output,
    )


def redact(text: str) -> str:
    """Mask the logins of URLs and what follows `password=`. The second line of defence: nobody should log them."""
    for pattern, mask in _SECRETS:
        text = pattern.sub(mask, text)
    return text


def _output() -> "LogWriter | TextIO":
    # What stands in for standard error, as tests do it, is no file that could keep anybody waiting.
    return sys.stderr if sys.stderr is not sys.__stderr__ else _standard_error()


@cache
def _standard_error() -> LogWriter:
    """The process's own; one for all times that logging is configured, so that lines keep their order."""
    # Closed since the process began, it may be anything by now: a connection, even.
    descriptor = os.open(os.devnull, os.O_WRONLY) if sys.stderr is None else sys.stderr.fileno()
    return LogWriter(descriptor, on_gap=_tell_of_gap)


def _tell_of_gap(count: int) -> None:
    log.warning("Log lines dropped: nobody read them, or they could not be written", count=count)


def _configure_libraries(formatter: logging.Formatter, threshold: int, output: "LogWriter | TextIO") -> None:
    libraries = logging.StreamHandler(output)
    libraries.setFormatter(formatter)
    logging.basicConfig(handlers=[libraries], level=threshold, force=True)
    logging.captureWarnings(True)
    # The server's hints about queries: noise in production, and as many as there are transactions.
    logging.getLogger("neo4j.notifications").setLevel(logging.ERROR)
    # An error for each connection that a server has left behind: it is raised to us as well, and held or retried then.
    logging.getLogger("neo4j.io").setLevel(logging.CRITICAL)


def _naming(service: str) -> Processor:
    def name(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event["service"] = service
        return event

    return name


def _renderer(log_format: LogFormat | None) -> Processor:
    if log_format is None:
        log_format = LogFormat.CONSOLE if _is_terminal() else LogFormat.LOGFMT
    match log_format:
        case LogFormat.JSON:
            return structlog.processors.JSONRenderer(ensure_ascii=False)
        case LogFormat.CONSOLE:
            return structlog.dev.ConsoleRenderer(colors=_is_terminal(), sort_keys=False)
        case LogFormat.LOGFMT:
            return _render_logfmt


def _is_terminal() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()


def _render_logfmt(_: Any, __: str, event: MutableMapping[str, Any]) -> str:
    head = [event.pop(key) for key in ("timestamp", "level", "service")]
    return " ".join(
        [*head, _escape(str(event.pop("event"))), *(f"{key}={_logfmt_value(value)}" for key, value in event.items())]
    )


def _logfmt_value(value: object) -> str:
    if value is None:
        return ""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return _escape(text if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False))


def _escape(text: str) -> str:
    return _CONTROL.sub(lambda match: repr(match[0])[1:-1], text)


def _redact_line(_: Any, __: str, line: Any) -> Any:
    return redact(line)
