"""One line per event, on standard error: logfmt for machines and grep, console for a terminal, JSON by choice.

A logfmt line is `time level service event key=value …`: the event stands in plain words and the keys keep their order,
so that what operators grep for is a piece of the line. What libraries log goes the same way, from warning up.
"""

import json
import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog
from structlog.typing import Processor

from common.settings.programs import LogFormat

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")  # whatever ends a line or moves a cursor
_PLAIN = re.compile(r'[^\s"=\\]+')
_SECRETS = (
    # Up to the last @ of the word: a password may hold one.
    (re.compile(r"://\S*@"), "://***@"),
    (re.compile(r"\b(password|passwd|pwd)=[^\s&]+", re.IGNORECASE), r"\1=***"),
)


def configure(service: str, *, level: str = "info", log_format: LogFormat | None = None) -> None:
    """Send everything that is logged to standard error, in one format."""
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
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
    )
    _configure_libraries(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *ending],
        ),
        max(threshold, logging.WARNING),
    )


def redact(text: str) -> str:
    """Mask the logins of URLs and what follows `password=`. The second line of defence: nobody should log them."""
    for pattern, mask in _SECRETS:
        text = pattern.sub(mask, text)
    return text


def _configure_libraries(formatter: logging.Formatter, threshold: int) -> None:
    libraries = logging.StreamHandler(sys.stderr)
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
        log_format = LogFormat.CONSOLE if sys.stderr.isatty() else LogFormat.LOGFMT
    match log_format:
        case LogFormat.JSON:
            return structlog.processors.JSONRenderer(ensure_ascii=False)
        case LogFormat.CONSOLE:
            return structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), sort_keys=False)
        case LogFormat.LOGFMT:
            return _render_logfmt


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
