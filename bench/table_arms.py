"""tableinator over a full queue: new records, the same again, one in twenty changed; both sources, two replicas."""

from bench.arms import Arm
from bench.psql import PsqlBinary, PsqlText
from bench.stage import Stage
from bench.table_consumer import BATCH, Tableinator, Task
from extractor.message import Message


def arms(stage: Stage) -> list[Arm]:
    """Ours, and PostgreSQL's own."""
    new = new_ones(stage)
    return [
        PsqlText(stage),
        PsqlBinary(stage),
        Tableinator("tables_fast", stage, new),
        Tableinator("tables_without_ledger", stage, new, has_ledger=False),
        Tableinator("tables_aio_pika", stage, new, source="aio-pika"),
        Tableinator("tables_two_replicas", stage, new, replicas=2),
        Tableinator("tables_unchanged", stage, unchanged(stage)),
        Tableinator("tables_unchanged_without_ledger", stage, unchanged(stage), has_ledger=False),
        Tableinator("tables_changed", stage, changed(stage)),
    ]


def new_ones(stage: Stage) -> Task:
    """Nothing of it is stored."""
    return Task(stage.releases, start=len(stage.releases) // 20)


def unchanged(stage: Stage) -> Task:
    """All of it is stored already."""
    messages = stage.releases
    start = _end_of_a_batch(len(messages) // 20)
    return Task(messages, messages, (messages[start], messages[-1]), start)


def changed(stage: Stage) -> Task:
    """All of it is stored already, one record in twenty with other content."""
    messages = stage.changed
    differing = [position for position, both in enumerate(zip(messages, stage.releases, strict=True)) if _differ(*both)]
    start = next(position for position in differing if position >= _end_of_a_batch(len(messages) // 20))
    return Task(messages, stage.releases, (), start)


def _end_of_a_batch(position: int) -> int:
    return position // BATCH * BATCH + BATCH - 1


def _differ(one: Message, other: Message) -> bool:
    return one.sha256 != other.sha256
