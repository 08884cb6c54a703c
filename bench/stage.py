"""What every arm is given: the servers, a folder, and the records that all arms carry."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from extractor.message import Message
from extractor.synthetic.synthetic import SyntheticLoad


@dataclass(frozen=True, slots=True)
class Stage:
    """The servers belong to the bench alone: an arm may empty them. Arms are made once and run in every round.

    The other modules give their arms as `arms(stage: Stage) -> list[Arm]`.
    """

    rabbitmq_url: str
    management_url: str
    postgres_dsn: str
    neo4j_uri: str
    neo4j_username: str
    neo4j_password: str
    neo4j_database: str
    folder: Path
    """For files and logs of the arms; the servers' own accounts may read in it."""
    load: SyntheticLoad
    """Where the records come from: its date is the header `load` of every message."""
    releases: Sequence[Message]
    """What the table arms carry, in the order of the queue."""
    changed: Sequence[Message]
    """The same ids in the same order, one record in twenty with other content and hash."""
    graph_records: int
    """The graph arms carry the first so many of both."""
