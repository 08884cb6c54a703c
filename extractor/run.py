"""One run from its load to its report: wait for the queues, publish the kinds side by side, announce the whole."""

import asyncio
import time
from collections.abc import Callable

import structlog

from common.errors import SpindleError, StartRefused
from common.settings.servers import split_url
from extractor.control import extraction_complete, timestamp
from extractor.loads import Load
from extractor.manifest.format import ManifestRefused, path_of
from extractor.manifest.plan import Plan, check_plan
from extractor.manifest.writer import mark_announced
from extractor.publishing import Job, publisher_of
from extractor.queues import wait_for_queues
from extractor.report import KindReport, Report
from extractor.settings import ExtractorSettings
from extractor.worker import Update
from extractor.workers import Crew

log = structlog.get_logger()

Show = Callable[[Update], None]


def publish_load(
    load: Load,
    settings: ExtractorSettings,
    *,
    patience: float,
    show: Show,
    since: str | None = None,
    from_start: bool = False,
) -> Report:
    """Publish a load; `patience` is how many seconds to wait for the broker and the queues. With `since`, without what
    that load had with the same bytes; `from_start`, with what an interrupted run has published.

    Raises: StartRefused, with nothing published.
    """
    begun, started_at = time.monotonic(), timestamp()
    plan = plan_of(settings, since, from_start=from_start)
    if plan is not None:
        check_plan(plan, load)
    asyncio.run(wait_for_queues(settings, load.kinds, patience=patience))
    kinds = _run_jobs([Job(kind, load, settings, plan=plan) for kind in load.kinds], show)
    report = Report(load.date, kinds, time.monotonic() - begun)
    if not report.complete:
        return report
    try:
        asyncio.run(_announce(load, settings, report, started_at))
    except SpindleError as error:
        return Report(load.date, kinds, time.monotonic() - begun, failure=str(error))
    if plan is not None:
        _note_announced(plan, report)
    return report


def check_load(load: Load, settings: ExtractorSettings, *, show: Show) -> Report:
    """Read and normalise a load without publishing it."""
    begun = time.monotonic()
    kinds = _run_jobs([Job(kind, load, settings, only_check=True) for kind in load.kinds], show)
    return Report(load.date, kinds, time.monotonic() - begun, checked_only=True)


def make_manifests(load: Load, settings: ExtractorSettings, *, ids_only: bool, show: Show) -> Report:
    """Read a load without publishing it, and make its manifests; with `ids_only` for a producer that is not ours.

    Raises: StartRefused.
    """
    begun = time.monotonic()
    if settings.state is None:
        raise StartRefused("SPINDLE_STATE names no folder, and manifests need one.")
    plan = Plan(settings.state, ids_only=ids_only)
    check_plan(plan, load)
    kinds = _run_jobs([Job(kind, load, settings, only_check=True, plan=plan) for kind in load.kinds], show)
    return Report(load.date, kinds, time.monotonic() - begun, checked_only=True)


def plan_of(settings: ExtractorSettings, since: str | None, *, from_start: bool = False) -> Plan | None:
    """How these settings have manifests made; None if they name no folder.

    Raises: StartRefused.
    """
    if settings.state is None:
        if since:
            raise StartRefused("--since needs the manifest of that load, and SPINDLE_STATE names no folder.")
        return None
    # With whose queues: what was confirmed when only one was there has not reached the other.
    services = ",".join(sorted(settings.extractor_require)) or "none"
    vhost = split_url(settings.broker.url.get_secret_value()).path
    target = f"{settings.broker.address}{vhost} {settings.discogs_exchange_prefix} {services}"
    return Plan(settings.state, since=since or "", from_start=from_start, target=target)


def _note_announced(plan: Plan, report: Report) -> None:
    """The next run of this load begins anew: there is nothing left to go on with."""
    for kind in report.kinds:
        if not kind.no_manifest:
            try:
                mark_announced(path_of(plan.state, report.load, kind.kind))
            except (ManifestRefused, OSError) as error:
                log.warning("The manifest does not say that its load is announced", reason=str(error))


def _run_jobs(jobs: list[Job], show: Show) -> list[KindReport]:
    reports: dict[str, KindReport] = {}
    with Crew(jobs) as crew:
        for said in crew.listen():
            if isinstance(said, KindReport):
                reports[said.kind] = said
                _log_end(said, "read" if jobs[0].only_check else "published")
            elif said is not None:
                show(said)
    return [reports[job.kind] for job in jobs]


def _log_end(report: KindReport, done: str) -> None:
    fields = {"data_type": report.kind, done: report.published, "skipped": sum(report.skipped.values())}
    fields |= {name: count for name in ("unchanged", "resumed", "known") if (count := getattr(report, name))}
    if report.failure:
        log.error("Kind failed", reason=report.failure, **fields)
    else:
        log.info("Kind done", ending=report.ending, records_per_sec=round(report.rate), **fields)
    if report.skipped:
        reasons = ", ".join(f"{reason} {count}" for reason, count in report.skipped.items())
        log.warning("Records skipped", data_type=report.kind, reasons=reasons, hint="--json or --report has examples")


async def _announce(load: Load, settings: ExtractorSettings, report: Report, started_at: str) -> None:
    counts = {kind.kind: kind.published for kind in report.kinds}
    done = extraction_complete(load=load.date, started_at=started_at, record_counts=counts)
    async with publisher_of(settings, name="extractor") as publisher:
        for kind in load.kinds:
            await publisher.publish(settings.names.exchange(kind), [done])
        await publisher.flush()
