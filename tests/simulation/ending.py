"""What must be so in the end: every record stored in its last version, or set aside for good reason, and counted."""

from collections import Counter
from typing import TYPE_CHECKING

from tests.simulation.messages import REFUSED, UNREAD, Message

if TYPE_CHECKING:
    from tests.simulation.world import World


def check_end(world: "World") -> None:
    """Compare what was published with the store, the dead letters and the counters."""
    if world.checks.violation is None:
        _check_letters(world)
        _check_store(world)
        _check_counters(world)
        _check_errors(world)


def _check_letters(world: "World") -> None:
    checks = world.checks
    for message in world.published.all:
        if not checks.is_finished(message):
            checks.violate(f"message {message.number} ({message.fate}) is lost")
        is_letter = (message.kind, message.body) in checks.ledger.letters
        if message.fate in UNREAD and not is_letter:
            checks.violate(f"message {message.number} ({message.fate}) is not among the dead letters")
        if message.fate in REFUSED and (message.kind, message.body) in world.store.committed:
            checks.violate(f"message {message.number} ({message.fate}) was stored")
    most = (world.story.setup.flood - 1) * world.story.setup.kinds * len(world.misled)
    if len(checks.excused) > most:
        checks.violate(f"{len(checks.excused)} good records dead-lettered while the store refused everything")


def _check_store(world: "World") -> None:
    # A good record among the dead letters may have been stored as well: it may have come twice.
    excused = world.checks.excused
    best, sure = world.published.best(), world.published.best(leaving_out=excused)
    for (kind, record_id), message in best.items():
        least = sure.get((kind, record_id)) if (kind, message.body) in excused else message
        row = world.store.tables.get((kind, record_id))
        stored = world.published.of(kind, row.body) if row is not None else None
        if least is not None and not _is_as_new(world, stored, least):
            found = "not stored" if stored is None else f"stored as of message {stored.number}"
            world.checks.violate(f"{kind} {record_id} is {found}, and should be as of message {least.number}")


def _is_as_new(world: "World", stored: Message | None, least: Message) -> bool:
    if stored is None:
        return False
    if stored.rank >= least.rank or stored.body == least.body:
        return True
    # A good record that was refused for certain may have waited for the confirm of its dead letter in vain: then it
    # comes after later ones. So does one that a dead process had asked for, if the store takes its time with it.
    is_late = (stored.kind, stored.body) in world.store.wrongly_refused | world.store.late
    return (is_late or not world.story.setup.is_ordered) and stored.load == least.load


def _check_counters(world: "World") -> None:
    tallies = [life.tally for life in (*world.past, *(process.life for process in world.processes))]
    settled = sum(map(_settled, tallies))
    published = len(world.published.all)
    names = {step.name for step in world.story.steps}
    if settled < published:
        world.checks.violate(f"{published} published, {settled} counted as settled")
    if settled > published and not names & _LOSING:
        world.checks.violate(f"{published} published, {settled} counted as settled, and no acknowledgement was lost")

    for tally in tallies:
        if _settled(tally) + tally["expired"] > tally["received"]:
            world.checks.violate(f"{tally['received']} received, {_settled(tally)} settled, {tally['expired']} expired")


def _check_errors(world: "World") -> None:
    """Each process's ledgers know at least of every transaction that failed, and of every dead letter."""
    for life in (*world.past, *(process.life for process in world.processes)):
        met, known = life.failed + life.tally["dead_lettered"], sum(ledger.errors for ledger in life.ledgers)
        if known < met:
            world.checks.violate(f"{life.name} met {met} errors, and the ledger knows of {known}")


def _settled(tally: Counter[str]) -> int:
    return tally["settled"] + tally["dead_lettered"] + tally["control"]


_LOSING = {"kill", "stop", "lose_channel", "lose_connection", "cancel_consumer", "time_out", "stall", "restart_broker"}
"""Steps after which an acknowledgement may be lost, so that a record is settled twice."""
