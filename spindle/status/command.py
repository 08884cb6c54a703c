"""`spindle status`: is it healthy, how fast, how far, how fresh, and what is wrong?"""

import argparse
import asyncio
import json
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext, suppress

from rich.live import Live

from common.settings.environment import load as load_settings
from spindle.environments import add_stack_argument, environment_of
from spindle.output import readers_may_leave, wide_console
from spindle.settings import OperatorSettings
from spindle.status.assess import Verdict, judge
from spindle.status.collect import Watcher
from spindle.status.render import as_data, as_screen
from spindle.status.starting import refused_settings

INTERVAL = 2.0
"""Seconds between two looks; the services' own rates change once a second."""

_ABOUT = """\
How the services and their queues are: records per second over the last ten seconds, what waits, when that will be done,
latency from publish to commit (where records are settled now: since the services began; with --watch, of the last
minute), stores and dead letters.

exit codes: 0 healthy; 1 degraded: something is listed as wrong; 2 unreachable: the broker, or all replicas of a service
"""
_VARIABLES = """\
variables: those of the services for RabbitMQ, KINDS and DISCOGS_EXCHANGE_PREFIX, and
  STATUS_GRAPHINATOR, STATUS_TABLEINATOR   where they serve metrics: host:port, several with commas, or none; of a name
                                           every address is asked (default: graphinator:8001, tableinator:8002)
  RABBITMQ_MANAGEMENT_URL                  http://host:port, or none (default: the broker's host, port 15672): for the
                                           broker's alarms; the queues themselves are asked by AMQP. By https, with
                                           RABBITMQ_TLS=true, it trusts whom RABBITMQ_TLS_CA_FILE names; it
                                           verifies unless RABBITMQ_TLS_VERIFY is false
"""


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add this command to the operator's."""
    parser = commands.add_parser(
        "status",
        help="how fast, how far, how fresh, and what is wrong: per service and kind",
        description=_ABOUT,
        epilog=_VARIABLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--watch",
        nargs="?",
        type=_interval,
        const=INTERVAL,
        metavar="SECONDS",
        help=f"again and again, every {INTERVAL:g} s or as given, until interrupted",
    )
    add_stack_argument(parser)
    parser.add_argument("--json", action="store_true", help="for a program; one line per look with --watch")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Look, and show; return the exit code, with --watch that of the last look."""
    environ = environment_of(arguments)
    settings = load_settings(OperatorSettings, environ)
    return int(asyncio.run(_Status(settings, arguments, environ).run()))


class _Status:
    def __init__(self, settings: OperatorSettings, arguments: argparse.Namespace, environ: Mapping[str, str]) -> None:
        self._watcher = Watcher(settings)
        self._environ = environ
        self._names = settings.names
        self._interval: float | None = arguments.watch
        self._json: bool = arguments.json
        self._console = wide_console()
        self._verdict = Verdict.UNREACHABLE

    async def run(self) -> Verdict:
        interrupted = suppress(asyncio.CancelledError) if self._interval else nullcontext()  # Ctrl-C ends a watch
        with readers_may_leave(), self._screen() as screen, interrupted:
            await self._look(screen)
            while self._interval is not None:
                await asyncio.sleep(self._interval)
                await self._look(screen)
        return self._verdict

    async def _look(self, screen: Live | None) -> None:
        picture = await self._watcher.look()
        self._verdict, wrong = judge(picture, self._names)
        wrong = [*refused_settings(picture, self._environ), *wrong]  # (what is the cause first)
        if self._json:
            print(json.dumps(as_data(picture, self._verdict, wrong), indent=None if self._interval else 2), flush=True)
        elif screen is not None:
            size = self._console.size
            shown = as_screen(picture, self._verdict, wrong, width=size.width, height=size.height)
            screen.update(shown, refresh=True)
        else:
            self._console.print(as_screen(picture, self._verdict, wrong, width=self._console.width))

    def _screen(self) -> AbstractContextManager[Live | None]:
        if self._interval is None or self._json or not self._console.is_terminal:
            return nullcontext()
        return Live(console=self._console, auto_refresh=False)


def _interval(text: str) -> float:
    with suppress(ValueError):
        if 0.2 <= float(text) <= 3600:
            return float(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 0.2 to 3600")
