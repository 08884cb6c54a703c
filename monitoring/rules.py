"""The rule files for Prometheus, as text."""

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from monitoring import signals
from monitoring.alerts import ALERTS, Alert
from monitoring.promql import BASELINE, Recording, recordings

_HEADER = "# Made by `make dashboards` from the package monitoring; changes belong there.\n"
# Each time a month is read. Not more seldom than a series is forgotten, which is after five minutes.
_BASELINE_INTERVAL = "2m"


def rule_files() -> Mapping[str, str]:
    """The files' texts by name."""
    recorded = recordings(
        backlog=signals.BACKLOG_BATCHES,
        writing_share=signals.WRITING_SHARE,
        baseline_minutes=signals.BASELINE_MINUTES,
    )
    often = [_recording(each) for each in recorded if each.name != BASELINE]
    seldom = [_recording(each) for each in recorded if each.name == BASELINE]
    recording = [
        {"name": "spindle-recordings", "rules": often},
        {"name": "spindle-baselines", "interval": _BASELINE_INTERVAL, "rules": seldom},
    ]
    alerts = [{"name": "spindle-alerts", "rules": [_alert(each) for each in ALERTS]}]
    return {"recordings.yml": _text(recording), "alerts.yml": _text(alerts)}


def _recording(recording: Recording) -> dict[str, Any]:
    return {"record": recording.name, "expr": recording.expression}


def _alert(alert: Alert) -> dict[str, Any]:
    return {
        "alert": alert.name,
        "expr": alert.signal.condition,
        "for": alert.lasting,
        "labels": {"severity": str(alert.severity), **({"service": alert.service} if alert.service else {})},
        "annotations": {"summary": alert.summary, "action": alert.action, "runbook_url": alert.entry},
    }


def _text(groups: Sequence[Mapping[str, Any]]) -> str:
    body: str = yaml.safe_dump({"groups": list(groups)}, sort_keys=False, width=120, allow_unicode=True)
    return _HEADER + body
