"""Stored bodies from the tables to one service's queue, in the order of their ids.

What the service has already it finds unchanged: nothing has to be known about its store. A record without a load has no
version, and nothing keeps an older content from coming over a newer one that the service receives meanwhile: such a
record is passed over unless it is asked for.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from common.errors import BrokerUnavailable, SpindleError, StartRefused
from common.kinds import Service
from common.rabbitmq.publishing.publisher import Outgoing, Publisher
from common.rabbitmq.topology import queue_lengths
from extractor.control import headers
from extractor.publishing import publisher_of
from extractor.queues import Backlog, QueueGone
from extractor.settings import ExtractorSettings
from spindle.reprocessing.position import Position, PositionFile
from tableinator.ops.pages import rows_behind
from tableinator.ops.reader import StoredRow
from tableinator.settings import PostgresSettings

_PAGE = 1000
"""Rows in memory: the position moves by so many."""


class ReprocessFailed(SpindleError):
    """It failed after something was published; the text says why, and how far it was."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be published again, and how."""

    kind: str
    service: Service
    unversioned: bool = False
    """Also records without a load."""
    resume: bool = False
    """Go on with an interrupted run, however long ago that was."""
    from_start: bool = False


async def reprocess(
    wish: Wish,
    *,
    settings: ExtractorSettings,
    postgres: PostgresSettings,
    say: Callable[[str, Position], None] = lambda _said, _position: None,
    name_unreadable: Callable[[str], None] = lambda _id: None,
) -> Position:
    """Publish every stored body of a kind to a service's queue; go on where an interrupted run has ended a moment ago.

    `say`: told where it begins ("began") and how far it is ("published"); `name_unreadable`: told each id whose row
    PostgreSQL can't give, which is passed over.

    Returns: the last id, and how many records are safe with the broker, those of interrupted runs included.
    Raises: StartRefused, StoreUnavailable with nothing published; ReprocessFailed.
    """
    queue = settings.names.queue(wish.service, wish.kind)
    await _check_queue(settings, queue, wish.service)
    file = PositionFile(
        settings.state, f"reprocess.{wish.kind}.{wish.service}", _target(settings, postgres, queue, wish)
    )
    began = position = Position() if wish.from_start else file.read(at_any_age=wish.resume)
    say("began", began)
    name = f"spindle reprocess {wish.kind}"
    try:
        async with (
            publisher_of(settings, name=name) as publisher,
            Backlog(settings.broker, [queue], limit=settings.extractor_max_backlog, name=f"{name} backlog") as backlog,
        ):
            while True:
                # Before the page is read: what waits in memory may grow older than what the queue gets meanwhile.
                await backlog.wait_for_room(lambda: None)
                rows = await rows_behind(postgres, wish.kind, position.after, _PAGE)
                if not rows:
                    break
                wanted = [row for row in rows if row.version or wish.unversioned]
                unreadable = [row.id for row in wanted if row.data is None]
                published = await _publish(wanted, wish.kind, queue, publisher)
                await backlog.length()  # raises if the queue is gone, and what was confirmed with it
                position = Position(
                    rows[-1].id,
                    position.published + published,
                    position.passed_over + len(rows) - len(wanted),
                    position.unreadable + len(unreadable),
                )
                file.write(position)
                for record_id in unreadable:
                    name_unreadable(record_id)
                say("published", position)
    except QueueGone:
        file.remove()  # what was confirmed is gone with the queue
        raise
    except SpindleError as error:
        if position == began:
            raise
        raise ReprocessFailed(
            f"{error} Until then {position.published - began.published:,} records were published, up to id "
            f"{position.after}; within an hour, or with --resume, the next run goes on there."
        ) from error
    file.remove()
    return position


async def _publish(rows: list[StoredRow], kind: str, queue: str, publisher: Publisher) -> int:
    now_ms = time.time_ns() // 1_000_000
    chosen = [_outgoing(row, row.data, kind, now_ms) for row in rows if row.data is not None]
    await publisher.publish("", chosen, key=queue)
    await publisher.flush()
    return len(chosen)


def _outgoing(row: StoredRow, data: bytes, kind: str, now_ms: int) -> Outgoing:
    """A row as the message that it was; without a load if it came without one, so that it is compared as it was."""
    shared: dict[str, object] = headers(row.version, now_ms) if row.version else {"timestamp_in_ms": now_ms}
    return Outgoing(data, f"{kind}:{row.id}", shared)


async def _check_queue(settings: ExtractorSettings, queue: str, service: Service) -> None:
    try:
        lengths = await queue_lengths(settings.broker, [queue])
    except BrokerUnavailable as error:
        raise StartRefused(f"nothing was published: {error}") from error
    if lengths[queue] is None:
        raise StartRefused(f"there is no queue {queue}: start {service} first, which makes it.")


def _target(settings: ExtractorSettings, postgres: PostgresSettings, queue: str, wish: Wish) -> str:
    """From where to where: another database's ids say nothing, nor does a run that passed other records over."""
    source = f"{postgres.address}{urlsplit(postgres.dsn.get_secret_value()).path}"
    broker = f"{settings.broker.address}{urlsplit(settings.broker.url.get_secret_value()).path}"
    return f"{source} {broker} {queue} {'all' if wish.unversioned else 'versioned'}"
