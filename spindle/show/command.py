"""`spindle show`: where one record is, and why."""

import argparse
import asyncio
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from rich.console import Console

from common.errors import BrokerUnavailable, SinkError, StartRefused
from common.kinds import KINDS
from common.rabbitmq.ops.fates import Fate, Keep
from common.settings.environment import load as load_settings
from extractor.manifest.format import MAX_ID, ManifestRefused
from extractor.manifest.previous import Previous
from extractor.manifest.reader import Manifest
from graphinator.ops.identities import open_identities as open_graph
from graphinator.settings import Neo4jSettings
from spindle.dead_letters.choosing import Choice
from spindle.dead_letters.letter import Letter
from spindle.dead_letters.policies import limits_of_letters
from spindle.dead_letters.sweep import Passage
from spindle.environments import add_stack_argument, environment_of
from spindle.output import json_text, readers_may_leave, wide_console
from spindle.settings import OperatorSettings
from spindle.show.whereabouts import Dead, Listed, Stored, Whereabouts, explain, flag_text
from tableinator.ops.identities import open_identities as open_tables
from tableinator.settings import PostgresSettings

_ABOUT = """\
Look one record up in the tables, the graph, the dead letters and the manifests of SPINDLE_STATE, and say what follows.
What can't be asked is said; nothing is changed.

exit codes: 0 shown; 2 something could not be asked, or the command can't be understood
"""


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add this command to the operator's."""
    parser = commands.add_parser(
        "show",
        help="where one record is, and why",
        description=_ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("kind", type=_kind, metavar="KIND", help=f"one of {', '.join(KINDS)}, or without its last s")
    parser.add_argument("id", metavar="ID")
    add_stack_argument(parser)
    parser.add_argument("--json", action="store_true", help="for a program")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Look, and show; return the exit code."""
    whereabouts = asyncio.run(look(arguments.kind, arguments.id, environment_of(arguments)))
    with readers_may_leave():
        if arguments.json:
            print(json_text(as_data(whereabouts), indent=2))
        else:
            show(whereabouts, wide_console())
    unknown = any(each.problem for each in whereabouts.stored) or any(each.problem for each in whereabouts.listed)
    return 2 if unknown or whereabouts.dead_problem else 0


async def look(kind: str, record_id: str, environ: Mapping[str, str]) -> Whereabouts:
    """Ask everybody.

    Raises: SettingsError.
    """
    settings = load_settings(OperatorSettings, environ)
    dead, dead_problem = await _dead(settings, kind, record_id, environ)
    return Whereabouts(
        kind,
        record_id,
        [
            await _in_tables(load_settings(PostgresSettings, environ), kind, record_id),
            await _in_graph(load_settings(Neo4jSettings, environ), kind, record_id),
        ],
        list(_listed(settings.state, kind, record_id)) if settings.state else [],
        dead,
        dead_problem,
    )


async def _in_tables(settings: PostgresSettings, kind: str, record_id: str) -> Stored:
    try:
        async with open_tables(settings) as tables:
            found = (await tables.look_up(kind, [record_id])).get(record_id)
    except (SinkError, StartRefused) as error:
        return Stored("tables", None, problem=str(error))
    return Stored("tables", found[:2] if found else None)


async def _in_graph(settings: Neo4jSettings, kind: str, record_id: str) -> Stored:
    try:
        async with open_graph(settings) as graph:
            found = (await graph.look_up(kind, [record_id])).get(record_id)
    except (SinkError, StartRefused) as error:
        return Stored("graph", None, problem=str(error))
    return Stored("graph", found[:2], is_current=found[2]) if found else Stored("graph", None)


async def _dead(
    settings: OperatorSettings, kind: str, record_id: str, environ: Mapping[str, str]
) -> tuple[list[Dead], str]:
    found: list[Dead] = []

    def see(letter: Letter) -> Fate:
        time = letter.time.isoformat() if letter.time else ""
        found.append(Dead(letter.service, letter.reason, letter.load, time))
        return Keep()

    try:
        limits = await limits_of_letters(environ)
        choice = Choice(kinds=(kind,), ids=(record_id,))
        await Passage(settings.broker, settings.names, choice, limits=limits).go(see)
    except (BrokerUnavailable, StartRefused) as error:
        return [], str(error)
    return found, ""


def _listed(state: Path, kind: str, record_id: str) -> Iterator[Listed]:
    """What each manifest of the kind says, the newest load last."""
    for path in sorted(state.glob(f"*.{kind}.manifest")):
        load = path.name.partition(".")[0]
        try:
            with Manifest.open(path, load=load, kind=kind) as manifest:
                number = None
                with suppress(ValueError):
                    number = int(record_id)
                known = number is not None and str(number) == record_id and 0 <= number <= MAX_ID
                yield Listed(load, Previous(manifest).find(number) if known and number is not None else None)
        except ManifestRefused as error:
            yield Listed(load, None, problem=str(error))


def show(whereabouts: Whereabouts, console: Console) -> None:
    """Print it for a person."""

    def line(text: str, style: str = "") -> None:
        console.print(text, style=style, markup=False, highlight=False)

    line(f"{whereabouts.kind} {whereabouts.id}", "bold")
    for sentence in explain(whereabouts):
        line(f"  {sentence}")
    for stored in whereabouts.stored:
        if stored.found:
            line(f"  {stored.store}: sha256 {stored.found[0] or 'none'}, load {stored.found[1] or 'none'}", "dim")
    for listed in whereabouts.listed:
        line(f"  manifest {listed.load}: {listed.problem or flag_text(listed.row)}", "dim")
    for letter in whereabouts.dead:
        line(f"  dead letter of {letter.service}: {letter.reason}, load {letter.load or 'none'}, {letter.time}", "red")
    if whereabouts.dead_problem:
        line(f"  dead letters can't be asked: {whereabouts.dead_problem}", "yellow")


def as_data(whereabouts: Whereabouts) -> dict[str, object]:
    """The same for a program."""
    return {
        "kind": whereabouts.kind,
        "id": whereabouts.id,
        "sentences": list(explain(whereabouts)),
        "stores": {
            each.store: {
                "stored": each.found is not None,
                "sha256": each.found[0] if each.found else None,
                "load": each.found[1] if each.found else None,
                "problem": each.problem,
            }
            for each in whereabouts.stored
        },
        "manifests": {each.load: each.problem or flag_text(each.row) for each in whereabouts.listed},
        "dead_letters": [
            {"service": each.service, "reason": each.reason, "load": each.load, "time": each.time}
            for each in whereabouts.dead
        ],
        "dead_letters_problem": whereabouts.dead_problem,
    }


def _kind(text: str) -> str:
    kind = text if text in KINDS else f"{text}s"
    if kind not in KINDS:
        raise argparse.ArgumentTypeError(f"{text!r} is not one of {', '.join(KINDS)}")
    return kind
