"""The arguments of `spindle dead-letters`."""

import argparse
from collections.abc import Callable
from pathlib import Path

from common.rabbitmq.ops.rotation import PERMISSIONS
from spindle.dead_letters.choosing import add_choice, at_least
from spindle.dead_letters.editing import Change, change_of, removal_of
from spindle.environments import add_stack_argument

Run = Callable[[argparse.Namespace], int]

_EPILOG = f"""\
Whatever is not dropped or replayed stays where it stands, and counts as delivered no more often than before. Looking
therefore writes each letter to the end of its queue once round; --without-copying does without, for a broker that
takes no messages: then the broker counts the look, and a queue with a delivery limit loses what reaches that.

In a queue that is not first in, first out (priorities, letters that expire, another consumer) letters are held instead
of copied: none is lost, and each counts as delivered once more. The command says so.

Needed is permission {PERMISSIONS}.

Exit code 0: done; 1: not all of it (the sentence says what stayed), or the broker was lost: run it again; 2: refused.
"""


def add_actions(parser: argparse.ArgumentParser, run: Run) -> None:
    """Add what can be done with dead letters; `arguments.action` says which."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    actions = parser.add_subparsers(required=True, metavar="action", dest="action")
    for name, summary, add in (
        ("list", "count them by service, kind, reason and error", _list),
        ("show", "show letters with their bodies", _show),
        ("replay", "send them back to the queues that they came from", _replay),
        ("drop", "remove them for good", _drop),
        ("export", "write them to a file; they stay in their queues", _export),
        ("import", "put what was exported back into its queues, without what is there already", _import),
        ("edit", "change what their records say, and send them back", _edit),
    ):
        action = actions.add_parser(name, help=summary, description=summary)
        add_choice(action)
        add(action)
        add_stack_argument(action)
        action.add_argument("--json", action="store_true", help="for a program")
        action.set_defaults(run=run)


def _list(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--each", action="store_true", help="a line per letter instead")
    _without_copying(parser)


def _show(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--limit", type=_count, default=10, metavar="N", help="letters at the most (default: 10)")
    _without_copying(parser)


def _export(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--to", type=Path, required=True, metavar="FILE", help="a line of JSON per letter; - for standard output"
    )
    _without_copying(parser)


def _import(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--from", type=Path, required=True, dest="source", metavar="FILE", help="an export; - for standard input"
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")


def _edit(parser: argparse.ArgumentParser) -> None:
    _changing(parser)
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        type=_change(change_of),
        dest="changes",
        metavar="PATH=VALUE",
        help='of the record, as artists[0].id=5: a text, but for null and JSON\'s {…}, […] and "…". Without --set and '
        "--unset each record is opened in $EDITOR",
    )
    parser.add_argument(
        "--unset", action="append", type=_change(removal_of), dest="changes", metavar="PATH", help="remove it"
    )
    parser.add_argument("--force", action="store_true", help="also letters older than the newest load seen")
    parser.add_argument("--yes", action="store_true", help="don't ask")


def _change(read: Callable[[str], Change]) -> Callable[[str], Change]:
    def change(text: str) -> Change:
        try:
            return read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return change


def _replay(parser: argparse.ArgumentParser) -> None:
    _changing(parser)
    parser.add_argument("--rate", type=at_least(0.01, "a rate"), metavar="N", help="letters a second at the most")
    parser.add_argument("--force", action="store_true", help="also letters older than the newest load seen")


def _drop(parser: argparse.ArgumentParser) -> None:
    _changing(parser)
    parser.add_argument("--yes", action="store_true", help="don't ask")


def _changing(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--all", action="store_true", help="all of them: needed where no filter is given")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")
    parser.add_argument(
        "--limit", type=_count, metavar="N", help="letters at the most: queue by queue, from the front of each"
    )


def _without_copying(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--without-copying", action="store_true", help="see below: dead-letters --help")


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 up")
    return int(text)
