"""Every expression of the files that are given to Grafana and Prometheus."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from monitoring.__main__ import HERE

DASHBOARDS = HERE / "grafana" / "dashboards"
RULES = HERE / "rules"

_OURS = ("spindle_", "spindle:", "rabbitmq_", "up", "ALERTS")
_TEXT = re.compile(r'"(?:[^"\\]|\\.)*"')
_NAME = re.compile(r"(?<![\w:$])[a-zA-Z_][\w:]*")
# Of two letters or more: a number alone is none, and neither is the s of a quantile's name.
_DURATION = re.compile(r"(?<![\w.])(\d+)(s|m|h|d)(?!\w)")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True, slots=True)
class Found:
    """An expression and where it stands: dashboard, row, panel; or rule."""

    place: str
    expression: str

    def metrics(self) -> set[str]:
        """The names of the series that it asks for."""
        return {name for name in _NAME.findall(_TEXT.sub('""', self.expression)) if name.startswith(_OURS)}


def unfolded(board: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """All panels of a board, each collapsed row followed by those in it."""
    for panel in board["panels"]:
        yield panel
        yield from panel.get("panels", ())


def panels() -> Iterator[Found]:
    """What the panels ask for."""
    for path in sorted(DASHBOARDS.glob("*.json")):
        row = ""
        for panel in unfolded(json.loads(path.read_text())):
            row = panel["title"] if panel["type"] == "row" else row
            for target in panel.get("targets", ()):
                yield Found(f"{path.name}: {row}: {panel['title']}: {target['refId']}", target["expr"])


def rules() -> Iterator[dict[str, Any]]:
    """All rules, recorded series first."""
    loaded = [yaml.safe_load(path.read_text()) for path in sorted(RULES.glob("*.yml"), reverse=True)]
    yield from (rule for each in loaded for group in each["groups"] for rule in group["rules"])


def recordings() -> Iterator[Found]:
    """What is recorded."""
    yield from (Found(f"recorded: {rule['record']}", rule["expr"]) for rule in rules() if "record" in rule)


def alerts() -> Iterator[Found]:
    """When alerts fire."""
    yield from (Found(f"alert: {rule['alert']}", rule["expr"]) for rule in rules() if "alert" in rule)


def with_values(expression: str, values: Mapping[str, str]) -> str:
    """Put values for a dashboard's variables, as Grafana does."""
    for name, value in values.items():
        expression = expression.replace(f"${name}", value)
    assert not re.search(r"\$[a-z_]", expression), f"a variable without a value: {expression}"
    return expression


def quickened(rules_text: str, times: int) -> str:
    """The same rules in a faster time: every window and every `for` divided. So minutes of alerts fit into a test."""

    def quicken(found: re.Match[str]) -> str:
        return f"{int(found[1]) * _SECONDS[found[2]] * 1000 // times}ms"

    return _DURATION.sub(quicken, rules_text)


def copy_quickened(folder: Path, times: int) -> None:
    """Write all rule files, quickened, into a folder."""
    for path in RULES.glob("*.yml"):
        (folder / path.name).write_text(quickened(path.read_text(), times))
