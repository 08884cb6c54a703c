"""How a stack is: as rows, as a table, as JSON, as an exit code."""

from dataclasses import asdict, dataclass
from enum import IntEnum
from pathlib import Path

from rich.table import Table

from devstack.stack.member import Condition, Member
from devstack.stack.native import SERVICES, NativeStack
from devstack.stack.ports import LOOPBACK


class Verdict(IntEnum):
    """The exit code of `status`."""

    ALL_RUNNING = 0
    DEGRADED = 1
    NOTHING_THERE = 2


@dataclass(frozen=True, slots=True)
class Row:
    """One member."""

    name: str
    state: Condition
    pid: int | None
    """Of the server or service itself, not of its supervisor."""
    address: str | None
    log: str


def look(stack: NativeStack) -> list[Row]:
    """Return a row per member that was ever started."""
    rows = [_row(member) for member in stack.members.values()]
    return [row for row in rows if row.state is not Condition.ABSENT]


def verdict(rows: list[Row]) -> Verdict:
    """Sum up: a member that was stopped on purpose degrades nothing."""
    states = {row.state for row in rows} - {Condition.STOPPED}
    if not states or states == {Condition.DEAD}:
        return Verdict.NOTHING_THERE
    return Verdict.ALL_RUNNING if states == {Condition.RUNNING} else Verdict.DEGRADED


def as_table(rows: list[Row]) -> Table:
    """Return the rows for a person."""
    table = Table("server", "state", "pid", "address", "log", box=None, pad_edge=False)
    for row in rows:
        colour = {Condition.RUNNING: "green", Condition.STOPPED: "dim"}.get(row.state, "red")
        table.add_row(row.name, f"[{colour}]{row.state}", str(row.pid or "-"), row.address or "-", Path(row.log).name)
    return table


def as_data(stack: NativeStack, rows: list[Row]) -> dict[str, object]:
    """Return the rows for a program."""
    return {"home": str(stack.home), "verdict": verdict(rows).name.lower(), "members": [asdict(row) for row in rows]}


def _row(member: Member) -> Row:
    place, state = member.place, member.condition()
    running = state not in (Condition.STOPPED, Condition.DEAD, Condition.ABSENT)
    address = f"{LOOPBACK}:{place.ports[member.recipe.ports[0]]}" if running else None
    if address and member.name in SERVICES:
        address = f"http://{address}/metrics"
    worker = member.worker() if running else None
    return Row(member.name, state, worker.pid if worker else None, address, str(place.log(member.name)))
