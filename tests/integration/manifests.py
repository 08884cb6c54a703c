"""Manifests for tests, made from a load's messages."""

from collections.abc import Collection
from pathlib import Path

import msgspec

from extractor.loads import Load, messages
from extractor.manifest.format import NO_HASH, PUBLISHED, ROW, SKIPPED, Header, digest_of, path_of
from extractor.manifest.writer import Writer


def write_manifest(
    folder: Path,
    load: Load,
    kind: str,
    *,
    without: Collection[int] = (),
    skipped: Collection[int] = (),
    **header: object,
) -> Path:
    """Write a kind's manifest as the extractor would, `without` some ids."""
    rows = []
    for message in messages(load, kind):
        number = int(message.id)
        if number not in without:
            is_skipped = number in skipped
            sha256 = NO_HASH if is_skipped else bytes.fromhex(message.sha256[:16])
            rows.append(ROW.pack(number, digest_of(message.body), sha256, SKIPPED if is_skipped else PUBLISHED))
    said = Header(load=load.date, kind=kind, file=load.file_name(kind), bytes=3, extractor="0", normaliser=1)
    path = path_of(folder, load.date, kind)
    with Writer(path, said) as writer:
        writer.cut_to(0)
        writer.append(b"".join(rows))
        whole = {"complete": True, "checksum": "matched", "records": len(rows), "published": len(rows), **header}
        writer.finish(msgspec.structs.replace(said, **whole))
        writer.keep()
    return path
