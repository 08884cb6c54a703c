"""What was found, as one document: `--json`, the report that `spindle load` keeps, and what `--against` reads. Pure."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from types import NoneType
from typing import Any, Final

from common import VERSION
from common.errors import StartRefused
from spindle.advice.findings import Advice
from spindle.advice.meters import meters_of
from spindle.advice.phases import judge
from spindle.advice.publishing import advise_publishing
from spindle.advice.window import Window, numbers_of, series_of

FORMAT: Final = 1

Report = Mapping[str, Any]

COMPARED: Final[Mapping[str, str]] = {
    "rate": "records/s",
    "p50": "publish to commit, p50 (s)",
    "p95": "publish to commit, p95 (s)",
    "p99": "publish to commit, p99 (s)",
    "writing": "share of the writers' time in transactions",
    "cpu": "CPU of the busiest replica (cores)",
    "batch": "records per batch",
    "hash_hits": "share of records unchanged",
    "dead_lettered": "dead letters/s",
    "failed": "failed transactions/s",
    "memory": "memory of the largest replica (bytes)",
}
"""The numbers that two reports are compared by."""


def judged(window: Window) -> list[Advice]:
    """What is found of each service."""
    found = [judge(service, window.looks) for service in window.services]
    return [replace(each, unseen=window.unseen.get(each.service, "")) for each in found]


def report_of(window: Window, found: Sequence[Advice], *, title: str = "") -> Report:
    """The document. `title`: what the window was about, such as a load."""
    publishing = advise_publishing(window.published, keeps_up=not any(each.behind for each in found))
    return {
        "format": FORMAT,
        "spindle": VERSION,
        "title": title,
        "began": window.began.isoformat(timespec="seconds"),
        "seconds": round(window.seconds, 1),
        "source": window.source,
        "unseen": unseen_of(window),
        "services": {str(advice.service): _data(advice, window) for advice in found},
        **({"publishing": asdict(publishing)} if publishing else {}),
    }


def unseen_of(window: Window) -> str:
    """What RabbitMQ does not tell, and why; empty if it tells everything."""
    last = window.looks[-1]
    if not last.picture.broker.is_reachable:
        return f"whether records wait, nor alarms, memory and flow control: {last.picture.broker.trouble}"
    return f"alarms, memory and flow control of RabbitMQ: {last.pressure.trouble}" if last.pressure.trouble else ""


def _data(advice: Advice, window: Window) -> Mapping[str, Any]:
    data = asdict(advice)
    del data["service"]
    meters = meters_of(window.looks, advice.service)
    numbers = numbers_of(meters) if meters else {}
    series = series_of(window.looks, advice.service)
    return {**data, "numbers": numbers, "series": series}


def read_report(path: Path) -> Report:
    """An earlier one.

    Raises: StartRefused if it is none.
    """
    try:
        report: Report = json.loads(path.read_text())
        if report["format"] != FORMAT:
            raise StartRefused(f"{path} is a report of format {report['format']}; this version reads {FORMAT}.")
        datetime.fromisoformat(report["began"])
        _is_one_of(report.get("title", ""), str)
        for service in report["services"].values():
            _is_one_of(service["verdict"], str)
            _is_one_of(service["limit"], str, NoneType)
            for key in COMPARED:
                _is_one_of(service["numbers"].get(key), int, float, NoneType)
    except OSError as error:
        raise StartRefused(f"{path} can't be read: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StartRefused(f"{path} is no report of `spindle advise --json`.") from error
    return report


def _is_one_of(value: object, *types: type) -> None:
    """Raises: TypeError."""
    if not isinstance(value, types) or isinstance(value, bool):
        raise TypeError(f"{value!r}")


def compared(report: Report, earlier: Report) -> dict[str, Any]:
    """What differs from an earlier report: per service both limits, and of each number before, now, and their ratio."""
    services = {}
    for name, service in report["services"].items():
        before = earlier["services"].get(name)
        if before is None:
            continue
        pairs = {key: (before["numbers"].get(key), service["numbers"].get(key)) for key in COMPARED}
        services[name] = {
            "limit": [before["limit"], service["limit"]],
            "numbers": {
                key: {"before": old, "now": new, "ratio": round(new / old, 3) if old else None}
                for key, (old, new) in pairs.items()
                if old is not None and new is not None
            },
        }
    return {"began": earlier["began"], "title": earlier.get("title", ""), "services": services}
