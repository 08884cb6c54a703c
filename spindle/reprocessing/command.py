"""`spindle reprocess`: publish what the tables hold again, to one service."""

import argparse
import asyncio
import json
import sys
import time

from common.errors import StartRefused, StoreUnavailable
from common.kinds import KINDS, Service
from common.settings.environment import load as load_settings
from extractor.settings import ExtractorSettings
from spindle.environments import add_stack_argument, environment_of
from spindle.output import readers_may_leave
from spindle.reprocessing.position import Position
from spindle.reprocessing.reprocess import Wish, reprocess
from tableinator.settings import PostgresSettings

_SERVICES = {"graph": Service.GRAPHINATOR, "tables": Service.TABLEINATOR}

_ABOUT = """\
Read the bodies of a kind from the tables and publish them to one service's queue: after a change of the graph's model,
for an empty graph, or as the graph's backup. What the service's store has already is found unchanged. It pauses while
more than EXTRACTOR_MAX_BACKLOG messages wait. With SPINDLE_STATE an interrupted one goes on if it is run
again within an hour, or with --resume.

A row that PostgreSQL can't give is named and passed over.

exit codes: 0 everything is with the broker; 1 it failed midway, or rows can't be read; 2 nothing was published
"""
_INTERVAL = 10.0


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add this command to the operator's."""
    parser = commands.add_parser(
        "reprocess",
        help="publish what the tables hold again, to one service",
        description=_ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("kind", choices=KINDS, metavar="KIND", help=f"one of {', '.join(KINDS)}")
    parser.add_argument("--to", choices=tuple(_SERVICES), required=True, help="whose queue")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--resume", action="store_true", help="go on with an interrupted one, however long ago it was")
    where.add_argument("--from-start", action="store_true", help="also if one was interrupted within the last hour")
    parser.add_argument(
        "--unversioned",
        action="store_true",
        help="also records that came without a load: nothing keeps their older content from replacing a newer one",
    )
    add_stack_argument(parser)
    parser.add_argument("--json", action="store_true", help="for a program")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Publish; return the exit code."""
    environ = environment_of(arguments)
    settings, postgres = load_settings(ExtractorSettings, environ), load_settings(PostgresSettings, environ)
    wish = Wish(
        arguments.kind,
        _SERVICES[arguments.to],
        unversioned=arguments.unversioned,
        resume=arguments.resume,
        from_start=arguments.from_start,
    )
    begun = time.monotonic()
    say = _Progress(wish.kind)
    try:
        position = asyncio.run(
            reprocess(wish, settings=settings, postgres=postgres, say=say, name_unreadable=say.name_unreadable)
        )
    except StoreUnavailable as error:
        raise StartRefused(f"nothing was published: PostgreSQL at {postgres.address} can't be read: {error}") from error
    queue, seconds = settings.names.queue(wish.service, wish.kind), time.monotonic() - begun
    with readers_may_leave():
        if arguments.json:
            said = {"kind": wish.kind, "queue": queue, "published": position.published}
            said |= {"passed_over": position.passed_over, "unreadable": position.unreadable}
            print(json.dumps(said | {"seconds": round(seconds, 3)}, indent=2))
        else:
            print(f"{position.published:,} {wish.kind} are with the broker, in {queue} ({seconds:.0f} s)")
            if position.passed_over:
                print(f"{position.passed_over:,} without a load were passed over; --unversioned publishes them too")
            if position.unreadable:
                print(f"{position.unreadable:,} can't be read from PostgreSQL, and were passed over")
    return 1 if position.unreadable else 0


class _Progress:
    """A line on standard error now and then."""

    def __init__(self, kind: str) -> None:
        self._kind, self._said = kind, time.monotonic()

    def __call__(self, said: str, position: Position) -> None:
        if said == "began":
            if position.after:
                print(
                    f"Going on behind id {position.after}, {position.published:,} {self._kind} having been published "
                    "before; --from-start begins at the first.",
                    file=sys.stderr,
                )
        elif time.monotonic() - self._said >= _INTERVAL:
            self._said = time.monotonic()
            print(f"{position.published:,} {self._kind} published, up to id {position.after}", file=sys.stderr)

    def name_unreadable(self, record_id: str) -> None:
        """Say that a row is passed over."""
        print(f"The row of {self._kind} {record_id} can't be read from PostgreSQL: passed over.", file=sys.stderr)
