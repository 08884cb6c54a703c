"""What was published beside what became of it: stored in both stores, or set aside with its reason."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from common.delivery import Properties
from common.kinds import KINDS, Service
from common.rabbitmq.ops.queue_reader import StoredLetter
from common.rabbitmq.properties import translated
from spindle.dead_letters.letter import Letter, read
from tests.chaos.producing import Material
from tests.chaos.world import Place
from tests.e2e.loads import expectation_of
from tests.e2e.sides import Graph, Side, Tables, problems
from tests.integration import graphs, tables

_SHOWN = 10


@dataclass(slots=True)
class Ledger:
    """Counts over both stores; `examples` says what is not as it should be, without content."""

    stored: dict[str, int] = field(default_factory=dict)
    lost: int = 0
    wrong: int = 0
    expected: int = 0
    """Dead letters that there must be, and likewise below."""
    unexpected: int = 0
    missing: int = 0
    left: int = 0
    """Messages that wait in the queues after the end: what of them is no repetition is lost as well."""
    twins: int = 0
    """Dead letters more than once: the process ended between the letter's confirm and the original's."""
    examples: list[str] = field(default_factory=list)

    @property
    def is_even(self) -> bool:
        """Whether everything is where it should be."""
        return not (self.lost or self.wrong or self.unexpected or self.missing or self.left)


async def close(place: Place, material: Material) -> Ledger:
    """Compare every record of the run with both stores, and every dead letter with the records that were planted."""
    ledger = Ledger()
    sides: list[tuple[Side, set[tuple[str, str]]]] = [
        (place.tables, await _rows(place.tables)),
        (place.graph, await _nodes(place.graph)),
    ]
    for side, found in sides:
        await _compare(ledger, side, found, material)
        await _count_letters(ledger, place, side.service, material)
        ledger.left += await place.broker.waiting(side.service)
    expectation_of.cache_clear()
    return ledger


async def _compare(ledger: Ledger, side: Side, found: set[tuple[str, str]], material: Material) -> None:
    taken = {(bad.kind, bad.record_id) for bad in material.planted if side.service not in bad.reasons}
    expected = taken | {(kind, record_id) for kind, ids in material.ids.items() for record_id in ids}
    ledger.stored[side.service] = len(found)
    ledger.lost += len(expected - found)
    ledger.wrong += len(found - expected)
    _show(ledger, f"{side.service} lost", [f"{kind} {record_id[:40]}" for kind, record_id in expected - found])
    _show(
        ledger, f"{side.service} stored too much", [f"{kind} {record_id[:40]}" for kind, record_id in found - expected]
    )
    for what, (count, examples) in (await problems(side, material.loads[-1])).items():
        if not what.endswith(("missing", "agreeing")):  # counted above, or follows
            ledger.wrong += count
        _show(ledger, what, examples)


async def _count_letters(ledger: Ledger, place: Place, service: Service, material: Material) -> None:
    expected = {(bad.kind, bad.body): str(bad.reasons[service]) for bad in material.planted if service in bad.reasons}
    letters = [letter for kind in KINDS for letter in await _letters(place, service, kind)]
    found = {(letter.kind, letter.stored.body): letter.reason for letter in letters}
    unexpected = [letter for letter in letters if expected.get((letter.kind, letter.stored.body)) != letter.reason]
    missing = expected.keys() - found.keys()
    ledger.expected += len(expected)
    ledger.unexpected += len(unexpected)
    ledger.missing += len(missing)
    ledger.twins += len(letters) - len(found)
    _show(
        ledger,
        f"{service} dead letters unexpected",
        [
            f"{each.kind} {each.id[:40]} {each.reason} {each.error_class} {each.code} {each.text[:200]}"
            for each in unexpected
        ],
    )
    _show(
        ledger,
        f"{service} dead letters missing",
        [f"{kind} {expected[kind, body]} {body[:80]!r}" for kind, body in missing],
    )


async def _letters(place: Place, service: Service, kind: str) -> list[Letter]:
    taken = await place.broker.take_dead_letters(service, kind)
    return [read(StoredLetter(each.body, _properties(each)), service, kind) for each in taken]


def _properties(message) -> Properties:  # type: ignore[no-untyped-def]
    return translated(message.header.properties)


async def _rows(side: Tables) -> set[tuple[str, str]]:
    return {(kind, row[0]) for kind in KINDS for row in await tables.fetch(side.dsn, f"SELECT data_id FROM {kind}")}


async def _nodes(side: Graph) -> set[tuple[str, str]]:
    found = set()
    for kind in KINDS:
        label = kind.removesuffix("s").capitalize()
        rows = await graphs.fetch(side.server, f"MATCH (n:{label}) WHERE n.hash IS NOT NULL RETURN n.id")
        found |= {(kind, row[0]) for row in rows}
    return found


def _show(ledger: Ledger, what: str, examples: Sequence[str]) -> None:
    if examples:
        ledger.examples.append(f"{what}: {', '.join(sorted(examples)[:_SHOWN])}")
