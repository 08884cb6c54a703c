"""The dashboards as JSON, in the form in which Grafana is given them."""

import json
from collections.abc import Mapping, Sequence

from grafana_foundation_sdk.builders import dashboard as dashboards
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as models

from monitoring import overview, pipeline
from monitoring.panels import Row


def dashboard_files() -> Mapping[str, str]:
    """The files' texts by name."""
    return {
        "overview.json": _text("spindle-overview", "Spindle", overview.rows(), []),
        "pipeline.json": _text("spindle-pipeline", "Spindle: one pipeline", pipeline.rows(), pipeline.VARIABLES),
    }


def _text(uid: str, title: str, rows: Sequence[Row], variables: Sequence[dashboards.QueryVariable]) -> str:
    board = (
        dashboards.Dashboard(title)
        .uid(uid)
        .tags(["spindle"])
        .time("now-1h", "now")
        .refresh("10s")
        .timezone("browser")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .link(
            dashboards.DashboardLink("Spindle")
            .type(models.DashboardLinkType.DASHBOARDS)
            .tags(["spindle"])
            .keep_time(True)
        )
        .variables(list(variables))
    )
    for name, panels in rows:
        board = board.with_row(dashboards.Row(name))
        for panel in panels:
            board = board.with_panel(panel)
    return json.dumps(_numbered(board.build()), cls=JSONEncoder, indent=1) + "\n"


def _numbered(board: models.Dashboard) -> models.Dashboard:
    """Give each panel an id: Grafana numbers them anew at each loading where there is none."""
    for number, panel in enumerate(board.panels or [], start=1):
        panel.id_val = number
    return board
