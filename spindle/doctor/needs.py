"""How much disk a load takes, and where: estimates, on the large side. Pure."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from common.kinds import Service
from extractor.loads import DumpLoad, Load
from extractor.synthetic.synthetic import indices

MESSAGE_BYTES: Mapping[str, int] = {"artists": 227, "labels": 171, "masters": 894, "releases": 3119}
"""The mean of real messages by kind, over a stratified sample of a whole dump."""

MESSAGES_PER_DUMP = 5.6
"""Bytes of messages per byte of gzipped dump, at the most: 65 GB of 11.6 GB."""

IN_QUEUES = 2.0
"""Disk that a quorum queue takes per byte of its messages: the log before it is cut, and what it is written from."""

IN_TABLES = 1.2
"""Disk that PostgreSQL's tables take per byte of messages; measured: 0.95 for a first load with lz4."""

IN_GRAPH = 0.6
"""The same for Neo4j's store; measured: 0.45 for a first load."""

BROKER_IDLE = 135_000_000
"""Memory that RabbitMQ 4.3 takes with our queues and nothing in them."""

IN_MEMORY = 2_100
"""Bytes of a broker's memory per message that waits: 185,000 while services took from them filled 500 MiB; 159,000 that
nobody took from, with few releases yet, 358."""

LOG_BYTES = 1_000_000_000
"""What a store's own log takes before it is used again, whatever the load: PostgreSQL's default, and twice Neo4j's."""


@dataclass(frozen=True, slots=True)
class Need:
    """Bytes of disk, by server."""

    rabbitmq: int
    postgresql: int
    neo4j: int

    @property
    def together(self) -> int:
        """All of it, where the servers share a disk."""
        return self.rabbitmq + self.postgresql + self.neo4j


def need_of(load: Load, *, max_backlog: int, services: Collection[Service] = tuple(Service)) -> Need:
    """What a load takes; `max_backlog`: messages in all queues together at which the extractor pauses.

    `services`: those whose queues it looks at. If there are none nothing makes it pause, and both may be loaded.
    """
    messages = {kind: _message_bytes(load, kind) for kind in load.kinds}
    share = max_backlog / max(1, len(load.kinds)) if services else math.inf
    loaded = services or tuple(Service)
    waiting = {kind: min(size * len(loaded), share * MESSAGE_BYTES[kind]) for kind, size in messages.items()}
    total = sum(messages.values())
    return Need(
        rabbitmq=round(sum(waiting.values()) * IN_QUEUES),
        postgresql=round(total * IN_TABLES) + LOG_BYTES if Service.TABLEINATOR in loaded else 0,
        neo4j=round(total * IN_GRAPH) + LOG_BYTES if Service.GRAPHINATOR in loaded else 0,
    )


def in_words(size: float) -> str:
    """`1.5 GB`."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:,.1f} TB"


def _message_bytes(load: Load, kind: str) -> int:
    if isinstance(load, DumpLoad):
        return round(load.file(kind).path.stat().st_size * MESSAGES_PER_DUMP)
    return len(indices(load, kind)) * MESSAGE_BYTES[kind]
