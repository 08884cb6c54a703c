"""tableinator over a full queue: new records, the same again, one in twenty changed; both sources, two replicas."""

from bench.arms import Arm
from bench.psql import PsqlBinary, PsqlText
from bench.stage import Stage
from bench.table_consumer import BATCH, Tableinator, Task
from extractor.message import Message


def arms(stage: Stage) -> list[Arm]:
    """Ours, and PostgreSQL's own."""
    new = Task(stage.releases, start=len(stage.releases) // 20)
    return [
        PsqlText(stage),
        PsqlBinary(stage),
        Tableinator("tables_fast", stage, new),
        Tableinator("tables_without_ledger", stage, new, has_ledger=False),
        Tableinator("tables_aio_pika", stage, new, source="aio-pika"),
        Tableinator("tables_two_replicas", stage, new, replicas=2),
        Tableinator("tables_unchanged", stage, _unchanged(stage)),
        Tableinator("tables_unchanged_without_ledger", stage, _unchanged(stage), has_ledger=False),
        Tableinator("tables_changed", stage, _changed(stage)),
    ]


def _unchanged(stage: Stage) -> Task:
    messages = stage.releases
    start = _end_of_a_batch(len(messages) // 20)
    return Task(messages, messages, (messages[start], messages[-1]), start)


def _changed(stage: Stage) -> Task:
    messages = stage.changed
    differing = [position for position, both in enumerate(zip(messages, stage.releases, strict=True)) if _differ(*both)]
    start = next(position for position in differing if position >= _end_of_a_batch(len(messages) // 20))
    return Task(messages, stage.releases, (), start)


def _end_of_a_batch(position: int) -> int:
    return position // BATCH * BATCH + BATCH - 1


def _differ(one: Message, other: Message) -> bool:
    return one.sha256 != other.sha256
