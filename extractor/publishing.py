"""Publish one kind of a load: draw messages, keep many on their way, and say that all are there only when they are."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import NamedTuple

from common.rabbitmq.publishing.publisher import Outgoing, Portion, Publisher, PublishFailed
from extractor.control import file_complete, headers
from extractor.loads import DumpLoad, Load
from extractor.manifest.plan import Plan
from extractor.manifest.recording import Recording, recording_of
from extractor.message import Message
from extractor.parsing.reader import PENDING, Reader, reader_of
from extractor.queues import Backlog, QueueGone, required_queues, share_of_backlog
from extractor.settings import ExtractorSettings
from extractor.skip_limit import check_skipped
from extractor.streams import Truncated
from extractor.tally import Awaited, Tally

_CHUNK_RECORDS = 128
_CHUNK_BYTES = 512 * 1024
_CHUNK_DRAWN = 512
"""Records of a chunk, those included that need no message: these take a quarter of the time.

Reading keeps the event loop busy: a chunk's length is how long heartbeats and confirms wait, about 20 ms."""


@dataclass(frozen=True, slots=True)
class Job:
    """One kind to publish, or only to read."""

    kind: str
    load: Load
    settings: ExtractorSettings
    only_check: bool = False
    plan: Plan | None = None
    """How to make a manifest; None: there is none."""
    program = "extractor"

    async def do(self, tally: Tally, tell: "Tell") -> None:
        """Do it. Raises: as `check_kind` and `publish_kind`."""
        if self.only_check:
            await check_kind(self, tally, tell)
        else:
            await publish_kind(self, tally, tell)


Tell = Callable[[str], None]
"""Told after every chunk what is being done; raises if there is nobody to tell any more."""


async def check_kind(job: Job, tally: Tally, tell: Tell) -> None:
    """Read and normalise everything, without a broker; make the manifest, if there is a plan for one.

    Raises: Truncated, TooManySkipped, ManifestRefused, ChecksumDiffers, ParserEnded.
    """
    async with reader_for(job.load, job.kind, job.settings, tally) as reader:
        with recording_of(job.load, job.kind, tally, job.plan, reader) as recording:
            for chunk in _chunks(recording):
                recording.confirm(chunk.rows)
                tally.published = tally.records - tally.unchanged
                tell("reading")
                await asyncio.sleep(0)  # a signal is heard
                if chunk.is_short:
                    with tally.waiting(Awaited.PARSERS):
                        await recording.wait()
            check_skipped(tally, max_percent=job.settings.extractor_max_skipped_percent)
            recording.finish()
            recording.keep()
            tally.refusal = recording.refusal


async def publish_kind(job: Job, tally: Tally, tell: Tell) -> None:
    """Publish everything and, once all of it is confirmed, the control message.

    Raises: Truncated, TooManySkipped or ChecksumDiffers after what could be read is safe; PublishFailed, QueueGone,
    StartRefused, ManifestRefused, ParserEnded.
    """
    async with reader_for(job.load, job.kind, job.settings, tally) as reader:
        with recording_of(job.load, job.kind, tally, job.plan, reader) as recording:
            try:
                await _publish_recorded(job, recording, tally, tell)
            except QueueGone:
                recording.discard()  # what was confirmed is gone with the queue
                raise
            tally.refusal = recording.refusal


def reader_for(load: Load, kind: str, settings: ExtractorSettings, tally: Tally) -> AbstractAsyncContextManager[Reader]:
    """What reads a kind as these settings say, with parsers for XML alone; the tally knows how many."""
    tally.parsers = settings.extractor_parsers if isinstance(load, DumpLoad) else 0
    return reader_of(kind, max(1, tally.parsers))


async def _publish_recorded(job: Job, recording: Recording, tally: Tally, tell: Tell) -> None:
    settings, name = job.settings, f"extractor {job.kind}"
    queues = required_queues(settings, [job.kind])
    async with (
        publisher_of(settings, name=name) as publisher,
        Backlog(
            settings.broker, queues, limit=share_of_backlog(settings, job.load.kinds), name=f"{name} backlog"
        ) as backlog,
    ):
        try:
            await _publish_records(job, recording, publisher, backlog, tally, tell)
        except PublishFailed:
            # A queue that is deleted takes the confirms of what was on its way to it along: that is the better reason.
            await backlog.length()
            raise
        finally:
            tally.published = tally.resumed + publisher.confirmed
        with tally.waiting(Awaited.BROKER):
            await backlog.length()  # raises if one is gone: the records since then have not reached it
        check_skipped(tally, max_percent=settings.extractor_max_skipped_percent)
        manifest = await asyncio.to_thread(recording.finish)  # seconds for all releases, and heartbeats go on
        done = file_complete(
            kind=job.kind,
            load=job.load.date,
            total_processed=tally.published,
            file=job.load.file_name(job.kind),
            manifest=manifest,
        )
        with tally.waiting(Awaited.BROKER):
            await publisher.publish(settings.names.exchange(job.kind), [done])
            await publisher.flush()
        # After the announcement: killed before, the next run comes by all rows and announces again.
        recording.keep()


def publisher_of(settings: ExtractorSettings, *, name: str) -> Publisher:
    """What publishes as these settings say; `name` is how the broker's management shows its connection."""
    return Publisher(
        settings.broker,
        max_unconfirmed=settings.extractor_max_unconfirmed,
        name=name,
        patience=settings.extractor_confirm_timeout,
    )


async def _publish_records(
    job: Job, recording: Recording, publisher: Publisher, backlog: Backlog, tally: Tally, tell: Tell
) -> None:
    exchange = job.settings.names.exchange(job.kind)
    unsafe = deque[tuple[Portion, bytes]]()  # in the order of the load, in which rows are written too
    try:
        for chunk in _chunks(recording):
            with tally.waiting(Awaited.ROOM):
                await backlog.wait_for_room(lambda: tell("paused"))
            await asyncio.sleep(0)  # millions of records may need no message, and heartbeats go on
            with tally.waiting(Awaited.BROKER):
                portion = await publisher.publish(exchange, _outgoing(chunk.messages, job.load.date))
            unsafe.append((portion, chunk.rows))
            _confirm(unsafe, recording)
            tally.published = tally.resumed + publisher.confirmed
            tell("publishing")
            if chunk.is_short:
                with tally.waiting(Awaited.PARSERS):
                    await recording.wait()
    except Truncated:
        await publisher.flush()
        raise
    else:
        with tally.waiting(Awaited.BROKER):
            await publisher.flush()
    finally:
        _confirm(unsafe, recording)


def _confirm(unsafe: deque[tuple[Portion, bytes]], recording: Recording) -> None:
    """Note what is safe, as far as nothing before it is missing."""
    while unsafe and not unsafe[0][0].unconfirmed:
        recording.confirm(unsafe.popleft()[1])


class _Chunk(NamedTuple):
    messages: list[Message]
    rows: bytes
    is_short: bool = False
    """The next message is still to be waited for."""


def _chunks(recording: Recording) -> Iterator[_Chunk]:
    """Messages a few at a time; the last ones also if the reading ends in an error."""
    chunk: list[Message] = []
    size = drawn = 0
    try:
        for message in recording.messages():
            if message is PENDING:
                yield _Chunk(chunk, recording.take_rows(), is_short=True)
                chunk, size, drawn = [], 0, 0
                continue
            drawn += 1
            if message is not None:
                chunk.append(message)
                size += len(message.body)
            if len(chunk) >= _CHUNK_RECORDS or size >= _CHUNK_BYTES or drawn >= _CHUNK_DRAWN:
                yield _Chunk(chunk, recording.take_rows())
                chunk, size, drawn = [], 0, 0
    except Truncated:
        yield _Chunk(chunk, recording.take_rows())
        raise
    yield _Chunk(chunk, recording.take_rows())


def _outgoing(chunk: list[Message], load: str) -> list[Outgoing]:
    shared = headers(load, time.time_ns() // 1_000_000)
    return [Outgoing(message.body, message.message_id, shared) for message in chunk]
