"""Stored bodies from the tables to one service's queue, in the order of their ids.

What the service has already it finds unchanged: nothing has to be known about its store.
"""

import time
from collections.abc import Callable
from urllib.parse import urlsplit

from common.errors import StartRefused
from common.kinds import Service
from common.rabbitmq.publishing.publisher import Outgoing, Publisher
from common.rabbitmq.topology import queue_lengths
from extractor.control import headers
from extractor.publishing import publisher_of
from extractor.queues import Backlog
from extractor.settings import ExtractorSettings
from spindle.reprocessing.position import Position, PositionFile
from tableinator.ops.pages import rows_behind
from tableinator.ops.reader import StoredRow
from tableinator.settings import PostgresSettings

_PAGE = 1000
"""Rows in memory: the position moves by so many."""

_CHUNK = 128


async def reprocess(
    kind: str,
    service: Service,
    *,
    settings: ExtractorSettings,
    postgres: PostgresSettings,
    from_start: bool = False,
    say: Callable[[Position], None] = lambda _: None,
) -> Position:
    """Publish every stored body of a kind to a service's queue; go on where an interrupted one has ended.

    Returns: the last id, and how many records are safe with the broker, those of interrupted runs included.
    Raises: StartRefused, BrokerUnavailable, StoreUnavailable, PublishFailed, QueueGone.
    """
    queue = settings.names.queue(service, kind)
    await _check_queue(settings, queue, service)
    file = PositionFile(settings.state, f"reprocess.{kind}.{service}", _target(settings, queue))
    position = Position() if from_start else file.read()
    name = f"spindle reprocess {kind}"
    async with (
        publisher_of(settings, name=name) as publisher,
        Backlog(settings.broker, [queue], limit=settings.extractor_max_backlog, name=f"{name} backlog") as backlog,
    ):
        while rows := await rows_behind(postgres, kind, position.after, _PAGE):
            await _publish(rows, kind, queue, publisher, backlog)
            await backlog.length()  # raises if the queue is gone, and what was confirmed with it
            position = Position(rows[-1].id, position.published + len(rows))
            file.write(position)
            say(position)
    file.remove()
    return position


async def _publish(rows: list[StoredRow], kind: str, queue: str, publisher: Publisher, backlog: Backlog) -> None:
    for start in range(0, len(rows), _CHUNK):
        await backlog.wait_for_room(lambda: None)
        now_ms = time.time_ns() // 1_000_000
        chunk = [_outgoing(row, kind, now_ms) for row in rows[start : start + _CHUNK]]
        await publisher.publish("", chunk, key=queue)
    await publisher.flush()


def _outgoing(row: StoredRow, kind: str, now_ms: int) -> Outgoing:
    """A row as the message that it was; without a load if it came without one, so that it is compared as it was."""
    if row.data is None:
        raise StartRefused(f"the row of {kind} {row.id} can't be read from PostgreSQL")
    shared: dict[str, object] = headers(row.version, now_ms) if row.version else {"timestamp_in_ms": now_ms}
    return Outgoing(row.data, f"{kind}:{row.id}", shared)


async def _check_queue(settings: ExtractorSettings, queue: str, service: Service) -> None:
    lengths = await queue_lengths(settings.broker, [queue])
    if lengths[queue] is None:
        raise StartRefused(f"there is no queue {queue}: start {service} first, which makes it.")


def _target(settings: ExtractorSettings, queue: str) -> str:
    return f"{settings.broker.address}{urlsplit(settings.broker.url.get_secret_value()).path} {queue}"
