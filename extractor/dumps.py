"""Find the dump files of one load, and see that they are what their names say before anything is published."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from common.delivery import load_of
from common.errors import StartRefused
from common.kinds import KINDS
from extractor.reading import TAGS
from extractor.streams import DumpStream, Truncated, is_gzip

_NAME = re.compile(rf"discogs_(\d{{8}})_({'|'.join(KINDS)})\.xml(\.gz)?")
_LOOKS_LIKE_A_DUMP = re.compile(r"(?!.*CHECKSUM\.txt\Z)(?:discogs_|.*\.xml)", re.IGNORECASE)
_ENCODING = re.compile(rb"""\A\s*<\?xml[^>]*?encoding\s*=\s*["']([^"']+)["']""")
_PROLOGUE = re.compile(rb"\A(?:\xef\xbb\xbf)?(?:\s++|<\?.*?\?>|<!--.*?-->|<!DOCTYPE[^>]*+>)*+", re.DOTALL)


@dataclass(frozen=True, slots=True)
class DumpFile:
    """One kind of one dump."""

    path: Path
    kind: str
    load: str
    """The dump's date, `20260301`."""


def find_dumps(folder: Path, *, load: str | None = None) -> list[DumpFile]:
    """The dump files of a folder, of this load or of the only one there is; other files are passed over.

    Raises: StartRefused.
    """
    files = [dump for path in _listed(folder) if (dump := _named(path))]
    if load:
        files = [file for file in files if file.load == load]
    if not files:
        there = f"; there is {', '.join(odd)}" if (odd := passed_over(folder)) else ""
        raise StartRefused(
            f"no dump file{f' of {load}' if load else ''} in {folder}: expected names like "
            f"discogs_20260301_artists.xml.gz, for {', '.join(KINDS)}{there}"
        )
    return files


def passed_over(folder: Path) -> list[str]:
    """The files of a folder that look as if they were meant to be a dump's, and are not named so: unfinished downloads
    (`.gz.part`), other capitals (`.XML.GZ`), a date that is none.

    Raises: StartRefused.
    """
    return [path.name for path in _listed(folder) if _LOOKS_LIKE_A_DUMP.match(path.name) and not _named(path)]


def _listed(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise StartRefused(f"{folder} is not a folder with dump files")
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise StartRefused(f"the folder {folder} can't be read: {error.strerror}") from error


def name_dumps(paths: Sequence[Path]) -> list[DumpFile]:
    """Files that were named one by one, as dump files.

    Raises: StartRefused.
    """
    files = []
    for path in paths:
        dump = _named(path)
        if dump is None:
            raise StartRefused(
                f"{path.name} does not say what it is: expected a name like discogs_20260301_artists.xml.gz, for "
                f"{', '.join(KINDS)}"
            )
        files.append(dump)
    return files


def check_dumps(files: Sequence[DumpFile]) -> None:
    """See that the files are one load, one file per kind, readable, and begin as their names say.

    Raises: StartRefused.
    """
    loads = sorted({file.load for file in files})
    if len(loads) > 1:
        raise StartRefused(f"files of several loads ({', '.join(loads)}): choose one with --load")
    by_kind: dict[str, DumpFile] = {}
    for file in files:
        if (other := by_kind.setdefault(file.kind, file)) is not file:
            raise StartRefused(f"two files hold {file.kind} of {file.load}: {other.path} and {file.path}")
        _check_beginning(file)


def _named(path: Path) -> DumpFile | None:
    """Read a file's name; None if it is not a dump's."""
    found = _NAME.fullmatch(path.name)
    if not found or not is_date(found[1]):
        return None
    return DumpFile(path, found[2], found[1])


def is_date(text: str) -> bool:
    """Whether this is a load's date, `20260301`."""
    return load_of(text) is not None


def _check_beginning(file: DumpFile) -> None:
    try:
        if not file.path.is_file():
            raise StartRefused(f"{file.path} is not there, or is not a file")
        if is_gzip(file.path) != (file.path.suffix == ".gz"):
            raise StartRefused(f"{file.path} is {'not ' if file.path.suffix == '.gz' else ''}gzip, against its name")
        with DumpStream(file.path) as stream:
            beginning = next(iter(stream), b"")
    except OSError as error:
        raise StartRefused(f"{file.path} can't be read: {error.strerror}") from error
    except Truncated as error:
        raise StartRefused(f"{file.path} holds nothing that can be read: {error}") from error
    encoding = _ENCODING.match(beginning)
    if encoding and encoding[1].lower() not in (b"utf-8", b"utf8", b"us-ascii", b"ascii"):
        raise StartRefused(f"{file.path} is in {encoding[1].decode(errors='replace')}, and a dump is in UTF-8")
    for name in (file.kind, TAGS[file.kind]):
        if re.match(rb"<" + name.encode() + rb"[\s/>]", beginning[_after_prologue(beginning) :]):
            return
    raise StartRefused(f"{file.path} does not begin with <{file.kind}> or <{TAGS[file.kind]}>")


def _after_prologue(beginning: bytes) -> int:
    found = _PROLOGUE.match(beginning)
    return found.end() if found else 0


def kinds_in_order(files: Sequence[DumpFile]) -> Iterator[str]:
    """The kinds that the files hold, in the usual order."""
    held = {file.kind for file in files}
    yield from (kind for kind in KINDS if kind in held)
