"""Write a check's counts into the ledger of the store that it was about."""

from collections.abc import Mapping
from datetime import datetime

from common.loads import Checked, State
from common.settings.environment import load as load_settings
from extractor.manifest.format import Header
from graphinator.ops import ledger as graph_ledger
from graphinator.settings import Neo4jSettings
from spindle.checking.classes import Class
from spindle.checking.diff import Result
from tableinator.ops import ledger as table_ledger
from tableinator.settings import PostgresSettings


def checked_of(result: Result, header: Header) -> Checked:
    """What the ledger keeps of a check. `missing` and `dead` have no id in common."""
    of, subject = result.counts.of, result.subject
    took = datetime.fromisoformat(result.finished_at) - datetime.fromisoformat(result.began_at)
    return Checked(
        load=subject.load,
        kind=subject.kind,
        state=State.COMPLETE if result.counts.complete else State.INCOMPLETE,
        missing=of[Class.LOST],
        different=of[Class.DIFFERENT],
        dead=of[Class.DEAD],
        newer=of[Class.NEWER],
        gone=of[Class.GONE],
        manifest=subject.manifest,
        published=header.published,
        skipped=sum(header.skipped.values()),
        file=header.file,
        file_sha256=header.sha256 or None,
        seconds=took.total_seconds(),
    )


async def record(result: Result, header: Header, environ: Mapping[str, str]) -> None:
    """Write it.

    Raises: a SinkError.
    """
    checked = checked_of(result, header)
    if result.subject.store == "postgresql":
        await table_ledger.record_check(load_settings(PostgresSettings, environ), checked)
    else:
        await graph_ledger.record_check(load_settings(Neo4jSettings, environ), checked)
