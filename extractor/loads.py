"""A load as messages, without a broker: what the extractor publishes, and what tests and verification compare with."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import overload

from common.errors import StartRefused
from extractor.dumps import DumpFile, check_dumps, find_dumps, kinds_in_order, name_dumps, passed_over
from extractor.message import Message, Record, to_message
from extractor.reading import BrokenRecord, Skip, read_record
from extractor.splitting import split
from extractor.streams import DumpStream
from extractor.synthetic.synthetic import SyntheticLoad, indices, synthetic_record
from extractor.tally import Tally

__all__ = [
    "DumpLoad",
    "Load",
    "SyntheticLoad",
    "messages",
    "only",
    "open_files",
    "open_folder",
    "records",
    "remarks",
]


@dataclass(frozen=True, slots=True)
class DumpLoad:
    """The dump files of one date, checked; `date` is the load's version (`20260301`)."""

    date: str
    files: tuple[DumpFile, ...]
    passed_over: tuple[str, ...] = ()
    """Files of the folder that look like a dump's, and are not named so."""

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds there are files of."""
        return tuple(kinds_in_order(self.files))

    def file(self, kind: str) -> DumpFile:
        """The file that holds a kind."""
        return next(file for file in self.files if file.kind == kind)

    def file_name(self, kind: str) -> str:
        """What the control message calls a kind's file."""
        return self.file(kind).path.name


Load = DumpLoad | SyntheticLoad


def open_folder(folder: Path, *, date: str | None = None) -> DumpLoad:
    """The load in a folder; `date` chooses if it holds several.

    Raises: StartRefused.
    """
    return replace(_checked(find_dumps(folder, load=date)), passed_over=tuple(passed_over(folder)))


def open_files(paths: list[Path]) -> DumpLoad:
    """The load that these files make.

    Raises: StartRefused.
    """
    return _checked(name_dumps(paths))


@overload
def only(load: DumpLoad, kinds: tuple[str, ...]) -> DumpLoad: ...


@overload
def only(load: Load, kinds: tuple[str, ...]) -> Load: ...


def only(load: Load, kinds: tuple[str, ...]) -> Load:
    """The same load without the other kinds.

    Raises: StartRefused if none is left.
    """
    left = tuple(kind for kind in load.kinds if kind in kinds)
    if not left:
        raise StartRefused(f"no file holds {' or '.join(kinds)}: there is {', '.join(load.kinds)}")
    if isinstance(load, SyntheticLoad):
        return replace(load, kinds=left)
    return replace(load, files=tuple(file for file in load.files if file.kind in left))


def remarks(load: Load, wanted: Sequence[str]) -> Iterator[str]:
    """What a person should know before `wanted` kinds are loaded from it: what it lacks, and what was not looked at."""
    if isinstance(load, SyntheticLoad):
        return
    for name in load.passed_over:
        yield f"Passed over: {name} is not named like discogs_20260301_artists.xml.gz"
    if lacking := [kind for kind in wanted if kind not in load.kinds]:
        yield f"The load of {load.date} lacks {', '.join(lacking)}: there is only {', '.join(load.kinds)}"


def messages(load: Load, kind: str, tally: Tally | None = None) -> Iterator[Message]:
    """A kind's records as messages, in the load's order; `tally` counts them and what was skipped.

    Raises: Truncated, after the last whole record.
    """
    tally = tally if tally is not None else Tally()
    for record in records(load, kind, tally):
        message = to_message(kind, record)
        tally.records += 1
        tally.body_bytes += len(message.body)
        yield message


def records(load: Load, kind: str, tally: Tally | None = None) -> Iterator[Record]:
    """A kind's records in the wire format's shape.

    Raises: Truncated, after the last whole record.
    """
    tally = tally if tally is not None else Tally()
    if isinstance(load, SyntheticLoad):
        yield from _synthetic(load, kind, tally)
    else:
        yield from _dumped(load.file(kind), tally)


def _checked(files: list[DumpFile]) -> DumpLoad:
    check_dumps(files)
    return DumpLoad(files[0].load, tuple(files))


def _dumped(file: DumpFile, tally: Tally) -> Iterator[Record]:
    with DumpStream(file.path) as stream:
        tally.total = stream.size
        for piece in split(stream, file.kind):
            tally.done = stream.position
            if isinstance(piece, Skip):
                tally.skip(piece)
                continue
            try:
                record = read_record(piece.raw)
            except BrokenRecord as error:
                tally.skip(piece.skipped(error))
                continue
            yield record


def _synthetic(load: SyntheticLoad, kind: str, tally: Tally) -> Iterator[Record]:
    held = indices(load, kind)
    tally.total = len(held)
    for index in held:
        tally.done += 1
        if record := synthetic_record(load, kind, index):
            yield record
