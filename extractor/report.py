"""What a run did, per kind: for a person as a table, for programs as JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from rich.table import Table

from extractor.reading import Skip


class Ending(StrEnum):
    """How a kind's records came to an end."""

    COMPLETE = "complete"
    """All records are safe with the broker, and its control message says so; of a check: all were read."""
    FAILED = "failed"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class KindReport:
    """One kind's part of a run. `published` counts confirmed records; of a check, those that could be published."""

    kind: str
    file: str
    ending: Ending
    published: int = 0
    skipped: Mapping[str, int] = field(default_factory=dict)
    """How many records were passed over, by reason."""
    examples: Sequence[Skip] = ()
    """The first of them."""
    seconds: float = 0.0
    body_bytes: int = 0
    failure: str = ""
    """A sentence, if it failed."""
    unchanged: int = 0
    """Not published, because the load before had the same bytes."""
    resumed: int = 0
    """Of the published: confirmed before, to a run that was interrupted."""
    known: int = 0
    """Of what was read without publishing: not parsed, because another load had the same bytes."""
    no_manifest: str = ""
    """Why there is none, although one was asked for."""
    sent: Mapping[str, int] = field(default_factory=dict)
    """Messages by service, where each service's queue is given what is its own; all confirmed if it is complete."""
    cpu_seconds: float = 0.0
    """Of its own process, which cuts a dump and publishes."""
    parsers_cpu_seconds: float = 0.0
    """Of the parsers beside it, all together."""
    read: int = 0
    """Records that were come by, whether or not they were published."""
    parsed: int = 0
    """Of these: whose content was read, or made up."""
    parsers: int = 0
    """Processes that parsed; 1: its own; 0: the records were made up, or it can't be told."""
    waited: Mapping[str, float] = field(default_factory=dict)
    """Seconds in which its own process only waited, by what for (`Awaited`)."""

    @property
    def rate(self) -> float:
        """Records per second that this run has published."""
        return (self.published - self.resumed) / self.seconds if self.seconds else 0.0


@dataclass(frozen=True, slots=True)
class Report:
    """A whole run."""

    load: str
    kinds: Sequence[KindReport]
    seconds: float
    checked_only: bool = False
    failure: str = ""
    """What failed beside the kinds."""

    @property
    def complete(self) -> bool:
        """Whether everything was published and announced."""
        return not self.failure and all(kind.ending is Ending.COMPLETE for kind in self.kinds)

    @property
    def exit_code(self) -> int:
        """0 for everything, 1 for something that failed midway."""
        return 0 if self.complete else 1


def to_json(report: Report) -> dict[str, Any]:
    """The report as data."""
    return {
        "load": report.load,
        "complete": report.complete,
        "checked_only": report.checked_only,
        "failure": report.failure,
        "seconds": round(report.seconds, 3),
        "published": sum(kind.published for kind in report.kinds),
        "kinds": {kind.kind: _kind_to_json(kind) for kind in report.kinds},
    }


def to_table(report: Report) -> Table:
    """The report for a person."""
    table = Table(title=f"Load {report.load}{' (checked only)' if report.checked_only else ''}")
    done = "read" if report.checked_only else "published"
    for heading in ("kind", done, "unchanged", "skipped", "records/s", "MB", "ending"):
        table.add_column(heading, justify="left" if heading in ("kind", "ending") else "right")
    for kind in report.kinds:
        skipped = sum(kind.skipped.values())
        table.add_row(
            kind.kind,
            f"{kind.published:,}",
            f"{kind.unchanged:,}",
            f"{skipped:,}",
            f"{kind.rate:,.0f}",
            f"{kind.body_bytes / 1e6:,.1f}",
            f"{kind.ending}: {kind.failure}" if kind.failure else str(kind.ending),
        )
    return table


def _kind_to_json(kind: KindReport) -> dict[str, Any]:
    return {
        "file": kind.file,
        "ending": kind.ending,
        "failure": kind.failure,
        "published": kind.published,
        "unchanged": kind.unchanged,
        "resumed": kind.resumed,
        "known": kind.known,
        "no_manifest": kind.no_manifest,
        "skipped": dict(kind.skipped),
        "skipped_examples": [
            {"offset": skip.offset, "reason": skip.reason, "id": skip.record_id, "text": skip.text}
            for skip in kind.examples
        ],
        "seconds": round(kind.seconds, 3),
        "cpu_seconds": round(kind.cpu_seconds, 3),
        "parsers_cpu_seconds": round(kind.parsers_cpu_seconds, 3),
        "waited_seconds": {what: round(seconds, 3) for what, seconds in kind.waited.items()},
        "read": kind.read,
        "parsed": kind.parsed,
        "parsers": kind.parsers,
        "rate": round(kind.rate, 1),
        "bytes": kind.body_bytes,
    }
