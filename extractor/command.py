"""Publish dumps or synthetic records: `python -m extractor --help`; fetch dumps: `python -m extractor fetch --help`.

Exit codes: 0 all was published and announced; 1 something failed midway; 2 it can't run like this, nothing was
published; 130 and 143 after Ctrl-C and SIGTERM.
"""

import argparse
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

import structlog
from rich.console import Console

from common.errors import SettingsError, SpindleError, StartRefused
from common.settings.environment import load, misspelt
from common.telemetry import logs
from extractor.arguments import open_load, parse
from extractor.loads import remarks
from extractor.progress import show_progress
from extractor.report import Report, to_json, to_table
from extractor.run import check_load, publish_load
from extractor.settings import ExtractorSettings

log = structlog.get_logger()


class Interrupted(KeyboardInterrupt):
    """A signal asked for the end. A KeyboardInterrupt, because asyncio lets these out of any task."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number


def main(argv: Sequence[str] | None = None) -> int:
    """Run once; return the exit code."""
    logs.configure("extractor")
    argv = sys.argv[1:] if argv is None else argv
    if list(argv[:1]) == ["fetch"]:
        from extractor.fetching import command as fetching  # a load needs no HTTP

        arguments = fetching.parse(argv[1:])
        return _interruptible(lambda: fetching.run(_settings().fetch, arguments), "month")
    arguments = parse(argv)
    return _interruptible(lambda: _hand_over(_run(arguments), arguments), "load")


def _interruptible(run: Callable[[], int], what: str) -> int:
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _interrupt)
        return run()
    except (SettingsError, StartRefused) as error:
        return _refuse(error)
    except Interrupted as interrupted:
        log.warning(f"Interrupted: the {what} is not complete", signal=str(interrupted))
        return interrupted.exit_code


def _settings() -> ExtractorSettings:
    settings = load(ExtractorSettings, os.environ)
    logs.configure("extractor", level=settings.log_level, log_format=settings.log_format)
    for sentence in misspelt(ExtractorSettings, os.environ):
        log.warning(sentence)
    return settings


def _run(arguments: argparse.Namespace) -> Report:
    settings = _settings()
    asked_for = open_load(arguments, settings.kinds)
    for sentence in remarks(asked_for, settings.kinds if arguments.kinds is None else arguments.kinds):
        log.warning(sentence)
    if arguments.report is not None:
        _check_writable(arguments.report)  # better now than after hours
    with show_progress() as progress:
        if arguments.only_check:
            return check_load(asked_for, settings, show=progress.show)
        return publish_load(
            asked_for,
            settings,
            patience=arguments.wait,
            show=progress.show,
            since=arguments.since,
            from_start=arguments.from_start,
        )


def _hand_over(report: Report, arguments: argparse.Namespace) -> int:
    """Give the report to whoever wants it. Returns: the exit code."""
    text = json.dumps(to_json(report), indent=2, ensure_ascii=False)
    if arguments.json:
        print(text)
    else:
        Console().print(to_table(report))
    if arguments.report is not None:
        arguments.report.write_text(f"{text}\n", encoding="utf-8")
    return report.exit_code


def _check_writable(path: Path) -> None:
    try:
        path.open("a").close()
    except OSError as error:
        raise StartRefused(f"the report can't be written to {path}: {error.strerror}") from error


def _refuse(error: SpindleError) -> int:
    for sentence in str(error).splitlines():
        log.error(sentence)
    return 2


def _interrupt(number: int, _: FrameType | None) -> None:
    # A second one ends the process at once, as it does with the services.
    signal.signal(number, lambda again, _: os._exit(128 + again))
    raise Interrupted(number)
