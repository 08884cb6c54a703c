"""A kind's messages together with the manifest that grows behind their confirms; or without one."""

from collections.abc import Generator, Iterator
from contextlib import ExitStack
from typing import Protocol, Self

import msgspec
import structlog

from common import VERSION
from extractor.loads import DumpLoad, Load, messages, records
from extractor.manifest.checksums import compare
from extractor.manifest.format import Header, path_of
from extractor.manifest.listing import Listing
from extractor.manifest.plan import Plan, open_known, open_since
from extractor.manifest.previous import Previous
from extractor.manifest.writer import Writer
from extractor.message import Message, to_message
from extractor.normalising import VERSION as NORMALISER
from extractor.parsing.reader import PENDING, DirectReader, Pending, Reader
from extractor.reading import BrokenRecord, Skip
from extractor.splitting import Piece, split
from extractor.streams import DumpStream
from extractor.tally import Tally

log = structlog.get_logger()

_MANY_CHANGED = 0.3
"""Share of a month's records: a real month has changed 2 to 5% of them."""

_MANY_GONE = 0.005
"""Share of a month's records: of 5,868 real masters one was gone a month later, and many more came."""


class Recording(Protocol):
    """What publishing needs: `with` it, draw `messages`, and hand back their rows when they are confirmed."""

    @property
    def refusal(self) -> str:
        """Why there is no manifest; empty if there is one, or if none was asked for."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def messages(self) -> Iterator[Message | Pending | None]:
        """A kind's messages in the load's order; None for a record that needs none, PENDING to `wait` before the next.

        Raises: Truncated, ParserEnded.
        """

    async def wait(self) -> None:
        """Return when the next message can be drawn."""

    def take_rows(self) -> bytes:
        """The rows of what was drawn since the last time."""

    def confirm(self, rows: bytes) -> None:
        """All messages up to these rows are safe."""

    def finish(self) -> Header | None:
        """Everything was drawn and confirmed: complete the manifest. Raises: ChecksumDiffers."""

    def keep(self) -> None:
        """Give the finished manifest its name."""

    def discard(self) -> None:
        """Forget what was confirmed: it has to be published again."""


class Unrecorded:
    """Messages without a manifest."""

    refusal = ""

    def __init__(self, load: Load, kind: str, tally: Tally, reader: Reader | None = None) -> None:
        self._load, self._kind, self._tally = load, kind, tally
        self._reader = reader or DirectReader(kind)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def messages(self) -> Iterator[Message | Pending | None]:
        """Each record's."""
        if not isinstance(self._load, DumpLoad):
            yield from messages(self._load, self._kind, self._tally)
            return
        with DumpStream(self._load.file(self._kind).path) as stream:
            self._tally.total = stream.size
            for piece in self._reader.draw(split(stream, self._kind)):
                self._tally.done = stream.position
                yield piece if piece is PENDING else self._message_of(piece)

    def _message_of(self, piece: Piece | Skip) -> Message | None:
        if isinstance(piece, Skip):
            self._tally.skip(piece)
            return None
        try:
            message = self._reader.read(piece)
        except BrokenRecord as error:
            self._tally.skip(piece.skipped(error))
            return None
        self._tally.records += 1
        self._tally.body_bytes += len(message.body)
        return message

    async def wait(self) -> None:
        """The reader's."""
        await self._reader.wait()

    def take_rows(self) -> bytes:
        """None."""
        return b""

    def confirm(self, rows: bytes) -> None:
        """Nobody notes it."""

    def finish(self) -> Header | None:
        """There is no manifest."""
        return None

    def keep(self) -> None:
        """Nothing."""

    def discard(self) -> None:
        """Nothing."""


class Recorded:
    """Messages with a manifest."""

    def __init__(self, load: Load, kind: str, tally: Tally, plan: Plan, reader: Reader | None = None) -> None:
        self._load, self._kind, self._tally, self._plan = load, kind, tally, plan
        self._reader = reader or DirectReader(kind)
        self._files = ExitStack()
        self._sha256 = ""
        self._is_closed = True

    def __enter__(self) -> Self:
        """Open what is read and written. Raises: ManifestRefused."""
        load, kind, plan = self._load, self._kind, self._plan
        with ExitStack() as files:
            since = files.enter_context(open_since(plan, load.date, kind)) if plan.since else None
            self._header = Header(
                load=load.date,
                kind=kind,
                file=load.file_name(kind),
                bytes=load.file(kind).path.stat().st_size if isinstance(load, DumpLoad) else 0,
                extractor=VERSION,
                normaliser=NORMALISER,
                target=plan.target,
                since=plan.since,
                since_digest=since.digest if since else "",
                ids_only=plan.ids_only,
            )
            path = path_of(plan.state, load.date, kind)
            self._writer = files.enter_context(Writer(path, self._header, from_start=plan.from_start))
            self._rows_before = len(since) if since else 0
            known = open_known(plan, load.date, kind)
            if known is not None:
                files.enter_context(known)
            self._listing = Listing(
                self._writer,
                self._tally,
                kind=kind,
                previous=Previous(since) if since else None,
                known=Previous(known) if known else None,
                ids_only=plan.ids_only,
            )
            self._files = files.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()

    @property
    def refusal(self) -> str:
        """Why there is no manifest."""
        return self._listing.refusal

    def messages(self) -> Iterator[Message | Pending | None]:
        """Those of the records that the listing does not pass over."""
        if isinstance(self._load, DumpLoad):
            yield from self._of_dump(self._load)
        else:
            for record in records(self._load, self._kind, self._tally):
                yield self._listing.message_of_record(to_message(self._kind, record))
        self._listing.end()

    def _of_dump(self, load: DumpLoad) -> Iterator[Message | Pending | None]:
        with DumpStream(load.file(self._kind).path, hashed=True) as stream:
            self._tally.total = stream.size
            for piece in self._reader.draw(self._pieces(stream)):
                self._tally.done = stream.position
                yield piece if piece is PENDING else self._listing.message_of(piece, self._reader)
            self._sha256 = stream.sha256()

    def _pieces(self, stream: DumpStream) -> Generator[Piece | Skip, None, None]:
        self._is_closed = yield from split(stream, self._kind)

    async def wait(self) -> None:
        """The reader's."""
        await self._reader.wait()

    def take_rows(self) -> bytes:
        """The listing's."""
        return self._listing.take_rows()

    def confirm(self, rows: bytes) -> None:
        """Append them."""
        if rows:
            self._writer.append(rows)

    def finish(self) -> Header | None:
        """Complete the header; None if there can be no manifest."""
        checksum = "made"
        if isinstance(self._load, DumpLoad):
            checksum = compare(self._load.file(self._kind).path, self._load.date, self._sha256)
        if not self._is_closed and checksum != "matched":
            self._listing.refuse(
                "the dump has no root element whose end could show that it is whole, and no checksum beside it does"
            )
        if self.refusal:
            return None
        tally = self._tally
        header = self._writer.finish(
            msgspec.structs.replace(
                self._header,
                sha256=self._sha256,
                checksum=checksum,
                complete=True,
                records=tally.records,
                published=tally.records - tally.unchanged,
                unchanged=tally.unchanged,
                skipped=tally.skipped_by_reason(),
                unknown_skipped=self._listing.unknown_skipped,
            )
        )
        for sentence in _remarks(header, self._rows_before):
            log.warning(sentence, data_type=self._kind)
        return header

    def keep(self) -> None:
        """Give the finished manifest its name."""
        if not self.refusal:
            self._writer.keep()

    def discard(self) -> None:
        """Leave nothing to go on with."""
        self._writer.discard()


def recording_of(load: Load, kind: str, tally: Tally, plan: Plan | None, reader: Reader) -> Recording:
    """A kind's messages, with a manifest if there is a plan for one."""
    return Unrecorded(load, kind, tally, reader) if plan is None else Recorded(load, kind, tally, plan, reader)


def _remarks(header: Header, rows_before: int) -> Iterator[str]:
    if not header.ascending:
        yield "The dump's ids are not ascending: its manifest was sorted"
    if header.duplicates:
        yield f"{header.duplicates:,} records have an id that came before: the last of each counts"
    if header.unknown_skipped:
        yield f"{header.unknown_skipped:,} skipped records have no id that can be made out: nothing will be removed"
    if header.rows < rows_before * (1 - _MANY_GONE):
        share = 1 - header.rows / rows_before
        yield f"The dump has shrunk by {share:.1%} since {header.since}: {header.rows:,} records of {rows_before:,}"
    if header.since and header.published > _MANY_CHANGED * header.records:
        yield (
            f"{header.published:,} of {header.records:,} records are new or changed since {header.since}: either the "
            "dump is written in another way, or the load before was small"
        )
