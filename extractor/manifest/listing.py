"""What becomes of each record of a dump: published, or passed over, and its row for the manifest.

Five things may be the case, and are asked in this order. A row that is there already: the broker has confirmed the
record to a run that was interrupted. The bytes of the load before: not published, and not even parsed. If nothing is
published, the bytes of another load that was listed: its sha256 is known. A record that can't be read: skipped. Else a
message.
"""

import re
from collections.abc import Iterator

import structlog

from extractor.manifest.format import (
    MAX_ID,
    NO_HASH,
    PUBLISHED,
    ROW,
    SKIPPED,
    UNCHANGED,
    Row,
    digest_of,
)
from extractor.manifest.previous import Previous
from extractor.manifest.writer import Writer
from extractor.message import Message
from extractor.parsing.reader import Reader
from extractor.reading import BrokenRecord, Skip, SkipReason, guess_id
from extractor.splitting import Piece
from extractor.tally import Tally

log = structlog.get_logger()

_NUMBER = re.compile("0|[1-9][0-9]*")

_UNKNOWN = frozenset({SkipReason.NO_ID, SkipReason.SEVERAL_IDS, SkipReason.NO_RECORD})
"""Skipped for reasons that leave open which records are meant."""


class Listing:
    """Rows in the dump's order; `take_rows` hands them over, to be written when their messages are confirmed.

    If an id can't be in a manifest, there is none: records are published all the same, and `refusal` says why.
    """

    def __init__(
        self,
        writer: Writer,
        tally: Tally,
        *,
        kind: str,
        previous: Previous | None = None,
        known: Previous | None = None,
        ids_only: bool = False,
    ) -> None:
        """`previous`: the load whose unchanged records are left out; `known`: one whose sha256 need no parsing."""
        self._writer, self._tally, self._kind = writer, tally, kind
        self._previous, self._known, self._ids_only = previous, known, ids_only
        self._rows = bytearray()
        self._earlier: Iterator[Row] = writer.earlier()
        self._expected: Row | None = next(self._earlier, None)
        self._agreed = 0  # earlier rows that this run has come by
        self._highest = -1
        self.unknown_skipped = 0
        self.refusal = ""

    def take_rows(self) -> bytes:
        """The rows of what was drawn since the last time."""
        rows = bytes(self._rows)
        self._rows.clear()
        return rows

    def message_of(self, piece: Piece | Skip, reader: Reader) -> Message | None:
        """The message to publish for a piece of a dump, which `reader` has just given; None if there is none."""
        if isinstance(piece, Skip):
            self._skip(piece, NO_HASH)
            return None
        raw = digest_of(piece.raw)
        if self._is_here(raw):
            return None
        if self._previous is not None and self._is_unchanged(guess_id(piece.raw), raw):
            return None
        if self._known is not None and self._is_known(guess_id(piece.raw), raw):
            return None
        if self._ids_only and (found := guess_id(piece.raw)):
            self._publish(found, raw, NO_HASH)
            return None
        try:
            message = reader.read(piece)
        except BrokenRecord as error:
            self._skip(piece.skipped(error), raw)
            return None
        return self._listed(message, raw)

    def message_of_record(self, message: Message) -> Message | None:
        """The same for a record that is made up: its message is all the bytes that there are."""
        raw = digest_of(message.body)
        if self._is_here(raw) or self._is_unchanged(message.id, raw):
            return None
        return self._listed(message, raw)

    def refuse(self, reason: str) -> None:
        """Have no manifest of this kind; the load goes on."""
        if not self.refusal:
            self.refusal = f"no manifest of {self._kind}, so that nothing can be checked or removed: {reason}"
            log.warning("The load goes on without a manifest", data_type=self._kind, reason=self.refusal)
            self._expected, self._earlier, self._previous, self._known = None, iter(()), None, None
            self._rows.clear()
            self._writer.discard()

    def end(self) -> None:
        """The dump has no more records."""
        if self._expected is not None:
            self._part_ways()

    def _listed(self, message: Message, raw: bytes) -> Message:
        self._tally.body_bytes += len(message.body)
        self._publish(message.id, raw, NO_HASH if self._ids_only else bytes.fromhex(message.sha256[:16]))
        return message

    def _publish(self, record_id: str, raw: bytes, sha256: bytes) -> None:
        self._tally.records += 1
        self._add(self._number(record_id), raw, sha256, PUBLISHED)

    def _skip(self, skip: Skip, raw: bytes) -> None:
        self._tally.skip(skip)
        if skip.reason in _UNKNOWN or not skip.record_id:
            self.unknown_skipped += 1
            return
        number = self._number(skip.record_id)
        if self._expected is not None and self._expected == (number, raw, NO_HASH, SKIPPED):
            self._come_by(self._expected)
        else:
            self._add(number, raw, NO_HASH, SKIPPED)

    def _is_here(self, raw: bytes) -> bool:
        """Whether the next of the earlier rows is this record's; a skipped one is read again, for its reason."""
        expected = self._expected
        if expected is None or expected.raw != raw or expected.flag == SKIPPED:
            return False
        self._come_by(expected)
        self._tally.records += 1
        if expected.flag == UNCHANGED:
            self._tally.unchanged += 1
        else:
            self._tally.resumed += 1
        return True

    def _is_unchanged(self, record_id: str, raw: bytes) -> bool:
        """Whether the load before had the same bytes; the number is only where to look, for equal bytes have equal ids.

        Not if the id may have come before in this load: what was published for it then would stay.
        """
        row = self._row_of(self._previous, record_id, raw)
        if row is None:
            return False
        self._tally.records += 1
        self._tally.unchanged += 1
        self._add(row.id, raw, row.sha256, UNCHANGED)
        return True

    def _is_known(self, record_id: str, raw: bytes) -> bool:
        """Whether a load that was listed had the same bytes: they make the same record, of the same sha256."""
        row = self._row_of(self._known, record_id, raw)
        if row is None:
            return False
        self._tally.known += 1
        self._publish(record_id, raw, row.sha256)
        return True

    def _row_of(self, other: Previous | None, record_id: str, raw: bytes) -> Row | None:
        if other is None or not record_id:
            return None
        number = int(record_id)
        row = other.find(number) if self._highest < number <= MAX_ID else None
        return None if row is None or row.raw != raw or row.flag == SKIPPED else row

    def _add(self, number: int | None, raw: bytes, sha256: bytes, flag: int) -> None:
        if number is None or self.refusal:
            return
        if self._expected is not None:
            self._part_ways()
        self._highest = max(self._highest, number)
        self._rows += ROW.pack(number, raw, sha256, flag)

    def _come_by(self, row: Row) -> None:
        self._agreed += 1
        self._highest = max(self._highest, row.id)
        self._expected = next(self._earlier, None)
        if self._expected is None:
            log.info("Publishing behind what was confirmed before", data_type=self._kind, rows=self._agreed, id=row.id)

    def _part_ways(self) -> None:
        """From here on the dump is not the one that was read before."""
        log.warning(
            "The dump differs from what was read of it before: publishing from there on",
            data_type=self._kind,
            row=self._agreed,
            rows_before=self._writer.rows,
        )
        self._expected, self._earlier = None, iter(())
        self._writer.cut_to(self._agreed)

    def _number(self, record_id: str) -> int | None:
        if not _NUMBER.fullmatch(record_id):
            self.refuse(f"the id {record_id[:40]!r} is not a number without leading zeros")
        elif len(record_id) > 10 or (number := int(record_id)) > MAX_ID:
            self.refuse(f"the id {record_id[:40]} is beyond 32 bits ({MAX_ID})")
        else:
            return number
        return None
