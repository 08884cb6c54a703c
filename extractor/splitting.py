"""Cut a dump's bytes into the bytes of its records, in constant memory.

A parser for the whole file would end at the first broken record of an 11 GB dump. So the boundaries are found on the
bytes: only the tags of the kind's record and root element matter, wherever they stand; the inside of a record is looked
at later, by a parser that sees one record. If a closing tag is missing, the next record's start is taken up again.
"""

import re
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass

from extractor.reading import MAX_RECORD_BYTES, TAGS, BrokenRecord, Skip, SkipReason, guess_id
from extractor.streams import Truncated

# A tag is looked at only when this many bytes follow it, or the file ends: no tag, and not what decides its meaning
# right behind it, is ever seen half.
_MARGIN = 4096

_TAG_END = re.compile(rb"""(?:[^<>"']++|"[^"<]*+"|'[^'<]*+')*+>""")
_BETWEEN_RECORDS = re.compile(rb"(?:\s++|\xef\xbb\xbf|<\?[^>]*+>|<!DOCTYPE[^>]*+>)*+\Z")
# Nested labels have an attribute or text; a label that is a record has children, these first in every era.
_LABEL_RECORD = re.compile(rb"\s*>\s*<(?:id|images)[\s/>]")


@dataclass(frozen=True, slots=True)
class Piece:
    """The bytes of what looks like one record, and where in the uncompressed dump they begin."""

    offset: int
    raw: bytes

    def skipped(self, error: BrokenRecord) -> Skip:
        """What is said of it if it can't be read."""
        return Skip(self.offset, error.reason, guess_id(self.raw), str(error))


def split(chunks: Iterable[bytes], kind: str) -> Generator[Piece | Skip, None, bool]:
    """Yield the records' bytes in order, and what can't be a record as a `Skip`.

    Returns: whether a root element was closed; without one nothing shows that the dump is whole.

    Raises: Truncated, after everything that is complete, if the bytes end inside a record, or before the root element
    is closed. The oldest dumps have no root element.
    """
    splitter = _Splitter(kind)
    try:
        for chunk in chunks:
            yield from splitter.feed(chunk)
    except Truncated:
        yield from splitter.feed(b"", last=True)
        raise
    yield from splitter.feed(b"", last=True)
    yield from splitter.finish()
    return splitter.is_closed


class _Splitter:
    """Where in the dump we are: in the record that begins at `_start`, or outside of any since `_outside`."""

    def __init__(self, kind: str) -> None:
        self._tag, self._root = TAGS[kind].encode(), kind.encode()
        names = [self._tag, self._root] + ([b"sublabels"] if kind == "labels" else [])
        self._token = re.compile(rb"<(?:(/?)(" + b"|".join(names) + rb")(?=[\s/>])|!--|!\[CDATA\[)")
        self._buffer = b""
        self._base = 0  # the offset of the buffer's first byte; the other positions count from there
        self._next = 0  # up to here everything has been looked at
        self._start: int | None = None
        self._outside = 0
        self._reported = False  # what stands outside is the rest of something that was skipped already
        self._in_sublabels = False
        self._nested = 0
        self._root_open: bool | None = None  # None: no root element has been seen

    @property
    def is_closed(self) -> bool:
        """Whether there was a root element, and it has ended."""
        return self._root_open is False

    def feed(self, chunk: bytes, *, last: bool = False) -> Iterator[Piece | Skip]:
        """Take the next bytes and give what they complete."""
        self._forget()
        self._buffer += chunk
        limit = len(self._buffer) - (0 if last else _MARGIN)
        while (token := self._token.search(self._buffer, self._next)) and token.start() < limit:
            if token[2] is not None:
                self._next = token.end()
                yield from self._take(token)
            elif not self._pass_over(token, wait=not last):
                limit = token.start()
                break
        self._next = max(self._next, limit)
        yield from self._give_up_on_the_endless()

    def finish(self) -> Iterator[Skip]:
        """Say what is wrong with how the bytes ended.

        Raises: Truncated.
        """
        end = self._base + len(self._buffer)
        if self._start is not None:
            raise Truncated(end, f"the file ends inside the record that begins at byte {self._base + self._start}")
        if self._root_open:
            raise Truncated(end, f"the file ends without </{self._root.decode()}>")
        for skip in self._outside_until(len(self._buffer)):
            if self._root_open is None:
                raise Truncated(end, "the file ends in something that is not a record")
            yield skip

    def _take(self, token: re.Match[bytes]) -> Iterator[Piece | Skip]:
        """Go on over a tag that matters."""
        closes, name = bool(token[1]), token[2]
        if name == self._tag:
            yield from self._close(token) if closes else self._open(token)
        elif name == self._root:
            yield from self._leave(token.start())
            self._outside, empty = self._tag_end(token)
            self._root_open = not (closes or empty)
        elif self._start is not None:
            self._in_sublabels = not (closes or self._tag_end(token)[1])
            self._nested = 0

    def _open(self, token: re.Match[bytes]) -> Iterator[Piece | Skip]:
        end, empty = self._tag_end(token)
        if self._in_sublabels and not _LABEL_RECORD.match(self._buffer, token.end()):
            self._nested += not empty
            return
        yield from self._leave(token.start())
        self._start = token.start()
        if empty:
            yield self._cut(end)

    def _close(self, token: re.Match[bytes]) -> Iterator[Piece | Skip]:
        end, _ = self._tag_end(token)
        if self._nested:
            self._nested -= 1
        elif self._start is not None:
            yield self._cut(end)
        else:
            yield from self._outside_until(end)
            self._outside, self._reported = end, False

    def _cut(self, end: int) -> Piece:
        """The record that ends here."""
        assert self._start is not None  # noqa: S101 (for mypy: both callers are inside a record)
        piece = Piece(self._base + self._start, self._buffer[self._start : end])
        self._be_outside(end)
        return piece

    def _leave(self, at: int) -> Iterator[Skip]:
        """A record or the root begins or ends here, so that nothing else can still be open."""
        if self._start is None:
            yield from self._outside_until(at)
        else:
            yield self._skip(self._start, at, SkipReason.NOT_CLOSED, "its closing tag is missing")
        self._be_outside(at)

    def _be_outside(self, since: int, *, reported: bool = False) -> None:
        self._start, self._outside, self._reported = None, since, reported
        self._in_sublabels, self._nested = False, 0
        self._next = max(self._next, since)

    def _outside_until(self, end: int) -> Iterator[Skip]:
        """Report what stands between records, if it is more than blanks and has not been reported."""
        if not self._reported and not _BETWEEN_RECORDS.match(self._buffer[self._outside : end]):
            yield self._skip(self._outside, end, SkipReason.NO_RECORD, "something that does not begin as a record")

    def _pass_over(self, token: re.Match[bytes], *, wait: bool) -> bool:
        """Skip a comment or CDATA section, whose inside means nothing; False if its end has not arrived yet."""
        comment = token[0] == b"<!--"
        end = self._buffer.find(b"-->" if comment else b"]]>", token.end())
        if end < 0 and wait and len(self._buffer) - token.start() < MAX_RECORD_BYTES:
            return False
        # One that never ends is left to the record's parser: it must not swallow the rest of the dump.
        self._next = token.end() if end < 0 else end + 3
        if (
            comment
            and end >= 0
            and self._start is None
            and _BETWEEN_RECORDS.match(self._buffer[self._outside : token.start()])
        ):
            self._outside = self._next
        return True

    def _give_up_on_the_endless(self) -> Iterator[Skip]:
        """Let go of what has grown larger than a record may be, so that memory stays constant."""
        if self._start is not None and self._next - self._start > MAX_RECORD_BYTES:
            yield self._skip(self._start, self._next, SkipReason.TOO_LARGE, f"larger than {MAX_RECORD_BYTES} bytes")
            self._be_outside(self._next, reported=True)
        elif self._start is None and self._next - self._outside > MAX_RECORD_BYTES:
            yield from self._outside_until(self._next)
            self._be_outside(self._next, reported=True)

    def _tag_end(self, token: re.Match[bytes]) -> tuple[int, bool]:
        """Where a tag ends, and whether it is an empty element's; the name's end if it never ends."""
        found = _TAG_END.match(self._buffer, token.end())
        return (found.end(), found[0].endswith(b"/>")) if found else (token.end(), False)

    def _skip(self, start: int, end: int, reason: SkipReason, text: str) -> Skip:
        raw = self._buffer[start:end]
        return Skip(self._base + start, reason, guess_id(raw), text)

    def _forget(self) -> None:
        """Drop the bytes that nobody needs any more."""
        used = min(self._next, self._outside if self._start is None else self._start)
        self._buffer = self._buffer[used:]
        self._base += used
        self._next -= used
        self._outside -= used
        if self._start is not None:
            self._start -= used
