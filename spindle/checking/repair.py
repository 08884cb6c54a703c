"""Publish again exactly what a check has found to be lost or different, to the one service's queue.

A record goes out only if it is the one that the manifest lists: another dump of the same ids would overwrite what is
right.
"""

import asyncio
import time
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass, field
from itertools import islice

from common.errors import StartRefused
from common.kinds import Service
from common.rabbitmq.publishing.publisher import Outgoing
from extractor.control import headers
from extractor.loads import DumpLoad, Load, messages
from extractor.manifest.format import Header
from extractor.message import Message
from extractor.parsing.reader import PENDING, DirectReader, Pending, Reader
from extractor.publishing import publisher_of
from extractor.queues import Backlog
from extractor.reading import BrokenRecord, Skip, guess_id
from extractor.settings import ExtractorSettings
from extractor.splitting import Piece, split
from extractor.streams import DumpStream, Truncated
from spindle.checking.classes import NO_HASH, Class, number_of
from spindle.checking.dead import SERVICES
from spindle.checking.diff import Result
from spindle.checking.id_set import IdSet
from spindle.checking.manifests import ManifestSource

CHUNK = 128
_CHUNK_DRAWN = 1024
"""Records passed over that are a chunk without a message: some ten milliseconds."""
_NAMED = 10


@dataclass(slots=True)
class Repaired:
    """What became of the records that were wanted."""

    wanted: int = 0
    published: int = 0
    """Confirmed messages."""
    absent: list[str] = field(default_factory=list)
    """The first ids that the source does not have, or has with other content than the manifest lists."""
    found: IdSet = field(default_factory=IdSet)

    @property
    def lacking(self) -> int:
        """How many wanted ids were not published."""
        return self.wanted - len(self.found)


def check_source(load: Load, header: Header) -> None:
    """See that a dump is the one that the manifest was made of.

    Raises: StartRefused.
    """
    if not isinstance(load, DumpLoad):
        return
    if header.kind not in load.kinds:
        raise StartRefused(f"the dump of {load.date} has no {header.kind} to repair from.")
    path = load.file(header.kind).path
    size = path.stat().st_size
    if (header.file, header.bytes) != (path.name, size):
        raise StartRefused(
            f"{path} has {size:,} bytes, and the manifest is of {header.file} with {header.bytes:,}: another dump."
        )


async def repair(result: Result, source: ManifestSource, load: Load, settings: ExtractorSettings) -> Repaired:
    """Publish what is lost or different.

    Raises: PublishFailed, QueueGone, StartRefused, Truncated; what was published by then is safe.
    """
    wanted = IdSet(result.ids(Class.LOST, Class.DIFFERENT))
    repaired = Repaired(len(wanted))
    if not wanted:
        return repaired
    check_source(load, source.header)
    service: Service = SERVICES[result.subject.store]
    queue = settings.names.queue(service, result.subject.kind)
    name = f"spindle check {result.subject.kind}"
    async with (
        publisher_of(settings, name=name) as publisher,
        Backlog(settings.broker, [queue], limit=settings.extractor_max_backlog, name=f"{name} backlog") as backlog,
    ):
        await backlog.length()  # raises if there is no such queue
        try:
            drawn = as_listed(wanted_messages(load, result.subject.kind, wanted), source.prefix_of(), repaired.found)
            for chunk in chunks(drawn):
                await backlog.wait_for_room(lambda: None)
                await asyncio.sleep(0)
                shared = headers(load.date, time.time_ns() // 1_000_000)
                await publisher.publish("", [Outgoing(each.body, each.message_id, shared) for each in chunk], key=queue)
        except Truncated:
            await publisher.flush()
            raise
        await publisher.flush()
        repaired.published = publisher.confirmed
        await backlog.length()  # raises if it is gone, and with it what was confirmed
    repaired.absent = [str(number) for number in islice((n for n in wanted if n not in repaired.found), _NAMED)]
    return repaired


Drawn = Message | Pending | None
"""What comes of one record: its message, or None if it is not wanted. Or PENDING: wait for the parsers, and draw on."""


def as_listed(drawn: Iterator[Drawn], prefix_of: Callable[[int], str | None], found: IdSet) -> Iterator[Drawn]:
    """Those messages whose content is what the manifest lists, None for each other record; `found`: their ids.

    A manifest of ids only lists no content: then every message passes.
    """
    for message in drawn:
        if message is PENDING:
            yield message
            continue
        number = None if message is None else number_of(message.id)
        if message is None or number is None:
            yield None
            continue
        is_listed = prefix_of(number) in (NO_HASH, message.sha256[:16])
        if is_listed:
            found.add(number)
        yield message if is_listed else None


def wanted_messages(load: Load, kind: str, wanted: Container[int], reader: Reader | None = None) -> Iterator[Drawn]:
    """The messages of these ids, in the load's order, None for each other record. Of a dump this process parses only
    those; a `reader` with parsers has them read ahead while most are wanted.

    Raises: Truncated, after the last whole record; ParserEnded.
    """
    if not isinstance(load, DumpLoad):
        for message in messages(load, kind):
            yield message if _is_wanted(message, wanted) else None
        return
    reader = reader or DirectReader(kind)
    with DumpStream(load.file(kind).path) as stream:
        for piece in reader.draw(split(stream, kind)):
            if piece is PENDING:
                yield piece
            else:
                yield None if isinstance(piece, Skip) else _wanted(piece, reader, wanted)


def chunks(drawn: Iterator[Drawn]) -> Iterator[list[Message]]:
    """Messages a few at a time, none where many records were passed over; the last ones also if it ends in an error.

    Between two chunks whoever reads them lets others go on: heartbeats, parsers, and what ends a command.
    """
    chunk: list[Message] = []
    records = 0
    try:
        for message in drawn:
            records += 1
            if isinstance(message, Message):
                chunk.append(message)
            if message is PENDING or len(chunk) == CHUNK or records == _CHUNK_DRAWN:
                yield chunk
                chunk, records = [], 0
    except Truncated:
        yield chunk
        raise
    if chunk:
        yield chunk


def _wanted(piece: Piece, reader: Reader, wanted: Container[int]) -> Message | None:
    if not _may_be(piece.raw, wanted):
        return None
    try:
        message = reader.read(piece)
    except BrokenRecord:
        return None
    return message if _is_wanted(message, wanted) else None


def _is_wanted(message: Message, wanted: Container[int]) -> bool:
    number = number_of(message.id)
    return number is not None and number in wanted


def _may_be(raw: bytes, wanted: Container[int]) -> bool:
    """Whether a record is worth parsing: it is wanted, or its id can't be made out without."""
    number = number_of(guess_id(raw))
    return number is None or number in wanted
