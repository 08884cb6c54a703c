"""Publish again exactly what a check has found to be lost or different, to the one service's queue."""

import time
from collections.abc import Container, Iterator

from common.kinds import Service
from common.rabbitmq.publishing.publisher import Outgoing, Publisher
from extractor.control import headers
from extractor.loads import DumpLoad, Load, messages
from extractor.message import Message, to_message
from extractor.queues import Backlog
from extractor.reading import BrokenRecord, Skip, guess_id, read_record
from extractor.settings import ExtractorSettings
from extractor.splitting import split
from extractor.streams import DumpStream
from spindle.checking.classes import Class, number_of
from spindle.checking.dead import SERVICES
from spindle.checking.diff import Result
from spindle.checking.id_set import IdSet

_CHUNK = 128


async def repair(result: Result, load: Load, settings: ExtractorSettings) -> int:
    """Publish what is lost or different. Returns: how many messages the broker has confirmed.

    Raises: PublishFailed, QueueGone, StartRefused, Truncated.
    """
    wanted = IdSet(result.ids(Class.LOST, Class.DIFFERENT))
    if not wanted:
        return 0
    service: Service = SERVICES[result.subject.store]
    queue = settings.names.queue(service, result.subject.kind)
    name = f"spindle check {result.subject.kind}"
    async with (
        Publisher(
            settings.broker,
            max_unconfirmed=settings.extractor_max_unconfirmed,
            name=name,
            patience=settings.extractor_confirm_timeout,
        ) as publisher,
        Backlog(settings.broker, [queue], limit=settings.extractor_max_backlog, name=f"{name} backlog") as backlog,
    ):
        await backlog.length()  # raises if there is no such queue
        for chunk in _chunks(wanted_messages(load, result.subject.kind, wanted)):
            await backlog.wait_for_room(lambda: None)
            shared = headers(load.date, time.time_ns() // 1_000_000)
            await publisher.publish("", [Outgoing(each.body, each.message_id, shared) for each in chunk], key=queue)
        await publisher.flush()
        return publisher.confirmed


def wanted_messages(load: Load, kind: str, wanted: Container[int]) -> Iterator[Message]:
    """The messages of these ids, in the load's order; of a dump only those records are parsed.

    Raises: Truncated, after the last whole record.
    """
    if not isinstance(load, DumpLoad):
        for message in messages(load, kind):
            if _is_wanted(message, wanted):
                yield message
        return
    with DumpStream(load.file(kind).path) as stream:
        for piece in split(stream, kind):
            if isinstance(piece, Skip) or not _may_be(piece.raw, wanted):
                continue
            try:
                record = read_record(piece.raw)
            except BrokenRecord:
                continue
            message = to_message(kind, record)
            if _is_wanted(message, wanted):
                yield message


def _is_wanted(message: Message, wanted: Container[int]) -> bool:
    number = number_of(message.id)
    return number is not None and number in wanted


def _may_be(raw: bytes, wanted: Container[int]) -> bool:
    """Whether a record is worth parsing: it is wanted, or its id can't be made out without."""
    number = number_of(guess_id(raw))
    return number is None or number in wanted


def _chunks(drawn: Iterator[Message]) -> Iterator[list[Message]]:
    chunk: list[Message] = []
    for message in drawn:
        chunk.append(message)
        if len(chunk) == _CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
