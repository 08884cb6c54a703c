"""The control messages: what is said about a load's stream, after the records that it is about."""

from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec

from common.rabbitmq.publishing.publisher import Outgoing
from extractor.manifest.format import Header


def file_complete(*, kind: str, load: str, total_processed: int, file: str, manifest: Header | None = None) -> Outgoing:
    """All records of a kind have been published, and confirmed; with a manifest, what it is and what it counted."""
    return _outgoing(
        f"{kind}:file_complete:{load}",
        load,
        {
            "type": "file_complete",
            "data_type": kind,
            "timestamp": timestamp(),
            "total_processed": total_processed,
            "file": file,
            **(_about(manifest) if manifest else {}),
        },
    )


def _about(manifest: Header) -> dict[str, object]:
    return {
        "manifest": manifest.digest,
        "file_sha256": manifest.sha256,
        "rows": manifest.rows,
        "unchanged": manifest.unchanged,
        "skipped": sum(manifest.skipped.values()),
    }


def extraction_complete(*, load: str, started_at: str, record_counts: Mapping[str, int]) -> Outgoing:
    """Every kind of a load has been published, and confirmed."""
    return _outgoing(
        f"extraction_complete:{load}",
        load,
        {
            "type": "extraction_complete",
            "version": load,
            "timestamp": timestamp(),
            "started_at": started_at,
            "record_counts": dict(record_counts),
        },
    )


def timestamp() -> str:
    """Now, as control messages have it: `2026-03-01T12:00:00.000000Z`."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def headers(load: str, now_ms: int) -> dict[str, object]:
    """A message's headers: what every message of a load has in common first, so that it can be cached."""
    return {"load": load, "timestamp_in_ms": now_ms}


def _outgoing(message_id: str, load: str, content: Mapping[str, object]) -> Outgoing:
    now_ms = int(datetime.now(UTC).timestamp() * 1000)
    return Outgoing(msgspec.json.encode(content), message_id, headers(load, now_ms))
