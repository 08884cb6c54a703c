"""Many runs as one result: `build/chaos.json`."""

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from tests.chaos.costs import LIMIT
from tests.chaos.running import Happened, Run

DRAIN_LIMIT = 10.0
"""Seconds: what an operator's `docker stop` waits for."""


def complaints(run: Run) -> list[str]:
    """Everything that must not be, in a few words each."""
    ledger = run.ledger
    counts = {
        "lost": ledger.lost,
        "wrong": ledger.wrong,
        "unexpected dead letters": ledger.unexpected,
        "missing dead letters": ledger.missing,
        "left in the queues": ledger.left,
    }
    found = [f"{count} {what}" for what, count in counts.items() if count]
    found += [f"{service} was not drained" for service in run.not_drained]
    found += [f"{service} took {seconds} s to stop" for service, _, seconds in run.drains if seconds >= DRAIN_LIMIT]
    found += [
        f"{cost.service} {cost.kind}: {cost.each:.1f} transactions a bad record"
        for cost in run.costs
        if cost.each > LIMIT
    ]
    return [*found, *run.leaks, *([run.error] if run.error else [])]


def total(runs: Sequence[Run], *, seed: int, seconds: float, facts: dict[str, Any]) -> dict[str, Any]:
    """Sum everything up."""
    faults = [happened for run in runs for happened in run.faults]
    recoveries = [each.recovery for each in faults if each.recovery is not None]
    return {
        "runs": len(runs),
        "failed_runs": [run.story.run for run in runs if complaints(run)],
        "seed": seed,
        "seconds": round(seconds, 1),
        "published": sum(run.published for run in runs),
        "stored": sum(sum(run.ledger.stored.values()) for run in runs),
        "lost": sum(run.ledger.lost for run in runs),
        "wrong": sum(run.ledger.wrong for run in runs),
        "dead_letters_expected": sum(run.ledger.expected for run in runs),
        "dead_letters_unexpected": sum(run.ledger.unexpected for run in runs),
        "dead_letters_missing": sum(run.ledger.missing for run in runs),
        "dead_letters_twice": sum(run.ledger.twins for run in runs),
        "left_in_queues": sum(run.ledger.left for run in runs),
        "redelivered": sum(run.redelivered for run in runs),
        "extra_transactions_max_per_bad_record": max((cost.each for run in runs for cost in run.costs), default=None),
        "extra_transactions_limit": round(LIMIT, 1),
        "recovery_seconds": _spread(recoveries),
        "recovery_seconds_by_fault": _by_fault(faults),
        "drain_seconds_max": max((run.drain_seconds for run in runs), default=0.0),
        "drains": sum(len(run.drains) for run in runs),
        "drain_exit_codes": dict(sorted(Counter(str(code) for run in runs for _, code, _ in run.drains).items())),
        "services_ended_by_themselves": _ends(runs),
        "flood_guard_needed_a_person": sum(bool(run.flood_allowed) for run in runs),
        "rss_bytes_max": max((rss for run in runs for rss in run.rss.values()), default=0),
        "faults": dict(sorted(Counter(f"{each.fault.kind}: {each.fault.where}" for each in faults).items())),
        "runs_behind_pgbouncer": sum(run.story.is_pooled for run in runs),
        "faults_skipped": sum(bool(each.skipped) for each in faults),
        **facts,
        "per_run": [_of_run(run) for run in runs],
    }


def line(run: Run) -> str:
    """A run in one line."""
    faults = ", ".join(f"{each.fault.kind} ({each.fault.where}{_recovered(each)})" for each in run.faults)
    letters = f"{run.ledger.expected} dead letters" + (f" +{run.ledger.twins} twice" if run.ledger.twins else "")
    ended = [f"{service} ended by itself with {codes}, " for service, codes in run.ended_by_itself.items()]
    pooled = " (PgBouncer)" if run.story.is_pooled else ""
    verdict = "".join(ended) + ("; ".join(complaints(run)) or "even")
    return (
        f"run {run.story.run:>3}{pooled}: {run.published:,} published, {letters}, {run.redelivered:,} redelivered, "
        f"{run.seconds:.0f} s: {faults}: {verdict}"
    )


def _recovered(each: Happened) -> str:
    return ", skipped" if each.skipped else f", back in {each.recovery:g} s" if each.recovery is not None else ""


def _spread(seconds: Sequence[float]) -> dict[str, float | int | None]:
    return {
        "count": len(seconds),
        "p50": round(statistics.median(seconds), 2) if seconds else None,
        "max": round(max(seconds), 2) if seconds else None,
    }


def _ends(runs: Sequence[Run]) -> dict[str, int]:
    """How often, by exit code."""
    codes = Counter(str(code) for run in runs for ends in run.ended_by_itself.values() for code in ends)
    return dict(sorted(codes.items()))


def _by_fault(faults: Sequence[Happened]) -> dict[str, Any]:
    names = sorted({f"{each.fault.kind}: {each.fault.where}" for each in faults if each.recovery is not None})
    return {
        name: _spread(
            [
                each.recovery
                for each in faults
                if each.recovery is not None and f"{each.fault.kind}: {each.fault.where}" == name
            ]
        )
        for name in names
    }


def _of_run(run: Run) -> dict[str, Any]:
    return {
        "run": run.story.run,
        "records": run.story.records,
        "months": run.story.months,
        "bad": run.story.bad,
        "behind_pgbouncer": run.story.is_pooled,
        "published": run.published,
        **asdict(run.ledger),
        "redelivered": run.redelivered,
        "faults": [
            {**asdict(each.fault), "recovery_seconds": each.recovery, "skipped": each.skipped} for each in run.faults
        ],
        "costs": [{**asdict(cost), "each": round(cost.each, 2)} for cost in run.costs],
        "drains": run.drains,
        "ended_by_itself": run.ended_by_itself,
        "flood_allowed": run.flood_allowed,
        "rss_bytes": run.rss,
        "seconds": round(run.seconds, 1),
        "complaints": complaints(run),
    }
