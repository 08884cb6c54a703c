"""`spindle pause` and `spindle resume`: have all replicas of a service leave a kind alone, or go on."""

import argparse
import asyncio
import getpass
import os

from common.kinds import KINDS, Service
from spindle.environments import add_stack_argument, environment_of
from spindle.ledger.stores import ledgers_of

_PAUSE = """\
Have every replica of a service hand the deliveries of a kind back to RabbitMQ and take no more, within seconds, until
it is resumed; also after restarts. Without KIND: of all kinds. The queues grow meanwhile; nothing is lost, and what is
being written is written. It is kept in the service's own store, and spindle status shows who, when and why.
"""
_RESUME = "Have every replica of a service consume a kind again, within seconds. Without KIND: all kinds."


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add both commands to the operator's."""
    for name, about, does_pause in (("pause", _PAUSE, True), ("resume", _RESUME, False)):
        parser = commands.add_parser(
            name,
            help="leave a kind of a service alone until it is resumed" if does_pause else "go on with a kind",
            description=about,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        parser.add_argument(
            "service", metavar="SERVICE", choices=[each.value for each in Service], help=" or ".join(Service)
        )
        parser.add_argument("kind", metavar="KIND", nargs="?", choices=KINDS, help=f"{', '.join(KINDS)}; default: all")
        if does_pause:
            parser.add_argument("--reason", default="", metavar="TEXT", help="why, for whoever looks at the status")
        parser.add_argument("--by", default="", metavar="NAME", help="who you are, if your user name does not say")
        add_stack_argument(parser)
        parser.set_defaults(run=run, does_pause=does_pause)


def run(arguments: argparse.Namespace) -> int:
    """Pause or resume; return the exit code."""
    service = Service(arguments.service)
    kinds = [arguments.kind] if arguments.kind else list(KINDS)
    reason = arguments.reason if arguments.does_pause else ""
    ledgers = ledgers_of(environment_of(arguments))
    asyncio.run(
        ledgers.set_pause(service, kinds, by=arguments.by or _who(), reason=reason, paused=arguments.does_pause)
    )
    done = "paused: its replicas hand their deliveries back" if arguments.does_pause else "resumed: it consumes again"
    print(f"{service}, {', '.join(kinds)}: {done} within seconds")
    return 0


def _who() -> str:
    """The user, for the status; in a container that has no name for him, his number."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return str(os.getuid())
