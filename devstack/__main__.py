"""`python -m devstack install|up|down|status|env|demo`."""

import argparse
import sys
from collections.abc import Sequence

from devstack.demo import command as demo
from devstack.stack import command as stack
from spindle.cli import ended


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code: 2 for what the caller can correct, 1 for what failed."""
    about = "RabbitMQ, PostgreSQL, Neo4j and the services as native processes, and a demo on those or on containers."
    parser = argparse.ArgumentParser(prog="python -m devstack", description=about)
    commands = parser.add_subparsers(required=True, metavar="command")
    stack.register(commands)
    demo.register(commands)
    given = sys.argv[1:] if argv is None else argv
    try:
        arguments = parser.parse_args(given)
    except SystemExit as end:
        if end.code and "demo" in given[:1]:
            demo.refuse(given[1:])
        raise
    return ended(arguments)


if __name__ == "__main__":
    sys.exit(main())
