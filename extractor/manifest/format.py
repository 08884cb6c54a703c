"""What a manifest looks like: a header of one JSON line, and 21 bytes for each record, ids ascending.

The header has a fixed length, so that it can be written again once the end is known, in front of a body of hundreds of
megabytes. A manifest that is not finished has another name, `LOAD.KIND.manifest.part`: what bears the name of a
manifest was finished.
"""

import hashlib
import struct
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from common.errors import StartRefused

FORMAT = 1
"""To be raised when what is written here can't be read by the reader of before."""

HEADER_BYTES = 4096
"""The header's line, filled up with blanks; all reasons to skip a record take a tenth of it."""

ROW = struct.Struct(">I8s8sB")
"""id, digest of the raw bytes, beginning of the sha256, flag."""

PUBLISHED, SKIPPED, UNCHANGED = 0, 1, 2
"""Flags: `SKIPPED` is in the dump but could not be read, so that it is never gone; `UNCHANGED` was not published,
because the previous load had the same bytes."""

NO_HASH = bytes(8)
"""Instead of a sha256, of a record that has none: it was skipped, or the manifest is of ids only."""

MAX_ID = 2**32 - 1


ANEW = "move it away, and make it again."
"""What a person does about a manifest that is damaged: nothing replaces one that was published by itself."""


class ManifestRefused(StartRefused):
    """A manifest can't be used as it is; the text says which one, why, and what to do."""


class Row(NamedTuple):
    """One record; a manifest has each id once."""

    id: int
    raw: bytes
    """8 bytes: the digest of the record's bytes in the dump; of a made-up record, of its message."""
    sha256: bytes
    """The first 8 bytes of the sha256 that its message bears, or `NO_HASH`."""
    flag: int


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """What a manifest says about its load. A count is of records of the dump unless it says otherwise."""

    spindle_manifest: int = FORMAT
    load: str
    kind: str
    file: str
    """The dump file's name."""
    bytes: int
    """Of the dump file, as it lies on disk; 0 for made-up records."""
    sha256: str = ""
    """Of the dump file; empty until it was read to its end, and for made-up records."""
    checksum: str = "absent"
    """`matched` if the file with checksums beside the dump says the same sha256; `absent` if there is none, or if it
    does not name the file; `made` for made-up records, which come from no file."""
    extractor: str
    normaliser: int
    complete: bool = False
    """Only after the closing root tag was read and the checksum compared."""
    announced: bool = False
    """The whole load has been announced: until then publishing it again goes on where this manifest ends."""
    target: str = ""
    """The broker and the exchanges that the records were published to; empty if they were only read."""
    since: str = ""
    """The load whose unchanged records were not published; empty if there is none."""
    since_digest: str = ""
    ids_only: bool = False
    """The rows have no sha256: a foreign producer hashes its own JSON."""
    rows: int = 0
    """Of the body."""
    records: int = 0
    """That could be read."""
    published: int = 0
    unchanged: int = 0
    skipped: dict[str, int] = {}
    """By reason; those without an id included."""
    unknown_skipped: int = 0
    """Skipped records whose id can't be made out: anything may be missing in the rows."""
    duplicates: int = 0
    """Records whose id had come before."""
    ascending: bool = True
    """The dump's ids are ascending; the manifest's always are."""
    digest: str = ""
    """sha256 of the body."""
    seal: str = ""
    """sha256 of the header without it."""

    @property
    def is_whole(self) -> bool:
        """Whether the dump matches its checksum; made-up records need none, since nothing cuts them."""
        return self.checksum in ("matched", "made")


def path_of(state: Path, load: str, kind: str) -> Path:
    """Where a finished manifest lies; `state` is the folder that SPINDLE_STATE names."""
    return state / f"{load}.{kind}.manifest"


def part_of(path: Path) -> Path:
    """Where a manifest lies while its load is published."""
    return path.with_name(f"{path.name}.part")


def reading_of(path: Path) -> Path:
    """Where a manifest lies while it is made without publishing: it must not take a publisher's position away."""
    return path.with_name(f"{path.name}.reading")


def digest_of(raw: bytes) -> bytes:
    """The 8 bytes by which a record's bytes are recognised."""
    return hashlib.sha256(raw).digest()[:8]


def encode_header(header: Header) -> bytes:
    """The header's line, sealed."""
    text = msgspec.json.encode(msgspec.structs.replace(header, seal=_seal(header)))
    if len(text) >= HEADER_BYTES:
        raise ValueError("a manifest's header does not fit its line")
    return text.ljust(HEADER_BYTES - 1) + b"\n"


def decode_header(line: bytes, path: Path) -> Header:
    """Read the first bytes of a manifest.

    Raises: ManifestRefused.
    """
    found = _decoded(line)
    if not isinstance(found, dict) or "spindle_manifest" not in found:
        raise ManifestRefused(f"{path} is not a manifest: it does not begin as one; {ANEW}")
    if found["spindle_manifest"] != FORMAT:
        raise ManifestRefused(
            f"{path} has the format {found['spindle_manifest']}, and only {FORMAT} can be read; {ANEW}"
        )
    if len(line) < HEADER_BYTES:
        raise ManifestRefused(f"{path} was cut: it ends within its header; {ANEW}")
    try:
        header = msgspec.convert(found, Header)
    except msgspec.ValidationError as error:
        raise ManifestRefused(f"{path} was altered: its header can't be read ({error}); {ANEW}") from error
    if header.seal != _seal(header):
        raise ManifestRefused(f"{path} was altered: its header is not as it was written; {ANEW}")
    return header


def _decoded(line: bytes) -> Any:
    try:
        return msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _seal(header: Header) -> str:
    return hashlib.sha256(msgspec.json.encode(msgspec.structs.replace(header, seal=""))).hexdigest()
