"""The runbook as a board, an entry a panel: what an alert's link leads to if nobody has the repository at hand."""

import json
import re
from pathlib import Path

from grafana_foundation_sdk.builders import dashboard as dashboards
from grafana_foundation_sdk.builders import text as texts
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import text as models

from monitoring.alerts import ALERTS, RUNBOOK
from monitoring.panels import RUNBOOK_BOARD, WIDTH, runbook_link

_LINK = re.compile(r"\[([^\]]+)\]\((#?)([^)]+)\)")
_LINES_PER_ROW = 1.6  # of text, in a row of Grafana's grid
_COLUMNS = 100  # of text, in half of the screen


def entries() -> dict[str, str]:
    """The runbook's entries by the alert's name."""
    parts = re.split(r"^### (\w+)\n", (Path(__file__).parent.parent / RUNBOOK).read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def text() -> str:
    """The board's file."""
    board = dashboards.Dashboard("Spindle: runbook").uid(RUNBOOK_BOARD).tags(["spindle"]).time("now-15m", "now")
    written = entries()
    for number, alert in enumerate(ALERTS, start=1):
        entry = _LINK.sub(_leading, written[alert.name]).strip()
        board = board.with_panel(
            texts.Panel()
            .id(number)
            .title(alert.name)
            .description(alert.meaning)
            .span(WIDTH // 2)
            .height(_height(entry))
            .mode(models.TextMode.MARKDOWN)
            .content(entry)
        )
    return json.dumps(board.build(), cls=JSONEncoder, indent=1) + "\n"


def _leading(found: re.Match[str]) -> str:
    """Lead to another entry's panel; of other documents only the name is of use in Grafana."""
    name, is_here, target = found.groups()
    known = {alert.name.lower(): alert.name for alert in ALERTS}
    return f"[{name}]({runbook_link(known[target])})" if is_here else f"`docs/{target}`"


def _height(entry: str) -> int:
    lines = sum(1 + len(paragraph) // _COLUMNS for paragraph in entry.replace("\n\n", "\0").split("\0"))
    return 4 + round((lines + entry.count("\n\n")) / _LINES_PER_ROW)
