"""The rules as files: for Prometheus, and for the Prometheus operator in Kubernetes."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import yaml

from common.kinds import Service
from monitoring import signals
from monitoring.alerts import ALERTS, Alert
from monitoring.promql import BASELINE, Recording, recordings

_HEADER = "# Made by `make dashboards` from the package monitoring; changes belong there.\n"
# Each time a month is read. Not more seldom than a series is forgotten, which is after five minutes.
_BASELINE_INTERVAL = "2m"
# The operator's default is twice that, and the shortest wait of an alert is one.
_OPERATORS_INTERVAL = "15s"


def rule_files() -> Mapping[str, str]:
    """The files' texts by name."""
    alerts = {"name": "spindle-alerts", "rules": [_alert(each) for each in ALERTS]}
    return {"recordings.yml": _text({"groups": _recordings()}), "alerts.yml": _text({"groups": [alerts]})}


def operators_rules() -> str:
    """The same as a PrometheusRule."""
    return _text(
        {
            "apiVersion": "monitoring.coreos.com/v1",
            "kind": "PrometheusRule",
            "metadata": {"name": "spindle"},
            "spec": {"groups": _operators_groups()},
        }
    )


def chart_rules() -> str:
    """The spec of that PrometheusRule, for the Helm chart, which adds the names."""
    return _text({"groups": _operators_groups()})


def _operators_groups() -> list[dict[str, Any]]:
    """Without the broker's processes: what their jobs are called in Kubernetes varies."""
    ours = [replace(each, signal=signals.up(tuple(Service))) if each.signal is signals.UP else each for each in ALERTS]
    groups = [*_recordings(), {"name": "spindle-alerts", "rules": [_alert(each) for each in ours]}]
    return [{"interval": _OPERATORS_INTERVAL, **group} for group in groups]


def _recordings() -> list[dict[str, Any]]:
    recorded = recordings(
        backlog=signals.BACKLOG_BATCHES,
        writing_share=signals.WRITING_SHARE,
        baseline_minutes=signals.BASELINE_MINUTES,
    )
    often = [_recording(each) for each in recorded if each.name != BASELINE]
    seldom = [_recording(each) for each in recorded if each.name == BASELINE]
    return [
        {"name": "spindle-recordings", "rules": often},
        {"name": "spindle-baselines", "interval": _BASELINE_INTERVAL, "rules": seldom},
    ]


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


def _text(content: Mapping[str, Any]) -> str:
    body: str = yaml.safe_dump(content, sort_keys=False, width=120, allow_unicode=True)
    return _HEADER + body
