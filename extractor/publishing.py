"""Publish one kind of a load: draw messages, keep many on their way, and say that all are there only when they are."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from common.rabbitmq.publishing.publisher import Outgoing, Publisher, PublishFailed
from extractor.control import file_complete, headers
from extractor.loads import Load, messages
from extractor.message import Message
from extractor.queues import Backlog, required_queues, share_of_backlog
from extractor.settings import ExtractorSettings
from extractor.skip_limit import check_skipped
from extractor.streams import Truncated
from extractor.tally import Tally

_CHUNK_RECORDS = 128
_CHUNK_BYTES = 512 * 1024
"""Reading keeps the event loop busy: a chunk's length is how long heartbeats and confirms wait, about 20 ms."""


@dataclass(frozen=True, slots=True)
class Job:
    """One kind to publish, or only to read."""

    kind: str
    load: Load
    settings: ExtractorSettings
    only_check: bool = False


Tell = Callable[[str], None]
"""Told after every chunk what is being done; raises if there is nobody to tell any more."""


def check_kind(job: Job, tally: Tally, tell: Tell) -> None:
    """Read and normalise everything, without a broker.

    Raises: Truncated, TooManySkipped.
    """
    for chunk in _chunks(messages(job.load, job.kind, tally)):
        tally.published += len(chunk)
        tell("reading")
    check_skipped(tally, max_percent=job.settings.extractor_max_skipped_percent)


async def publish_kind(job: Job, tally: Tally, tell: Tell) -> None:
    """Publish everything and, once all of it is confirmed, the control message.

    Raises: Truncated or TooManySkipped after what could be read is safe; PublishFailed, QueueGone, StartRefused.
    """
    settings, name = job.settings, f"extractor {job.kind}"
    queues = required_queues(settings, [job.kind])
    async with (
        publisher_of(settings, name=name) as publisher,
        Backlog(
            settings.broker, queues, limit=share_of_backlog(settings, job.load.kinds), name=f"{name} backlog"
        ) as backlog,
    ):
        try:
            await _publish_records(job, publisher, backlog, tally, tell)
        except PublishFailed:
            # A queue that is deleted takes the confirms of what was on its way to it along: that is the better reason.
            await backlog.length()
            raise
        finally:
            tally.published = publisher.confirmed
        await backlog.length()  # raises if one is gone: the records since then have not reached it
        check_skipped(tally, max_percent=settings.extractor_max_skipped_percent)
        done = file_complete(
            kind=job.kind,
            load=job.load.date,
            total_processed=tally.published,
            file=job.load.file_name(job.kind),
        )
        await publisher.publish(settings.names.exchange(job.kind), [done])
        await publisher.flush()


def publisher_of(settings: ExtractorSettings, *, name: str) -> Publisher:
    """What publishes as these settings say; `name` is how the broker's management shows its connection."""
    return Publisher(
        settings.broker,
        max_unconfirmed=settings.extractor_max_unconfirmed,
        name=name,
        patience=settings.extractor_confirm_timeout,
    )


async def _publish_records(job: Job, publisher: Publisher, backlog: Backlog, tally: Tally, tell: Tell) -> None:
    exchange = job.settings.names.exchange(job.kind)
    try:
        for chunk in _chunks(messages(job.load, job.kind, tally)):
            await backlog.wait_for_room(lambda: tell("paused"))
            await publisher.publish(exchange, _outgoing(chunk, job.load.date))
            tally.published = publisher.confirmed
            tell("publishing")
    except Truncated:
        await publisher.flush()
        raise
    await publisher.flush()


def _chunks(drawn: Iterator[Message]) -> Iterator[list[Message]]:
    """Messages a few at a time; the last ones also if the reading ends in an error."""
    chunk: list[Message] = []
    size = 0
    try:
        for message in drawn:
            chunk.append(message)
            size += len(message.body)
            if len(chunk) >= _CHUNK_RECORDS or size >= _CHUNK_BYTES:
                yield chunk
                chunk, size = [], 0
    except Truncated:
        yield chunk
        raise
    yield chunk


def _outgoing(chunk: list[Message], load: str) -> list[Outgoing]:
    shared = headers(load, time.time_ns() // 1_000_000)
    return [Outgoing(message.body, message.message_id, shared) for message in chunk]
