"""The dashboards as JSON, in the form in which Grafana is given them."""

import json
from collections.abc import Mapping, Sequence

from grafana_foundation_sdk.builders import dashboard as dashboards
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as models

from monitoring import overview, pipeline, runbook
from monitoring.panels import RUNBOOK_BOARD, Row, source_choice


def dashboard_files() -> Mapping[str, str]:
    """The files' texts by name."""
    return {
        "overview.json": _text("spindle-overview", "Spindle", overview.rows(), []),
        "pipeline.json": _text("spindle-pipeline", "Spindle: one pipeline", pipeline.rows(), pipeline.VARIABLES),
        "runbook.json": runbook.text(),
    }


def _text(uid: str, title: str, rows: Sequence[Row], variables: Sequence[dashboards.QueryVariable]) -> str:
    board = (
        dashboards.Dashboard(title)
        .uid(uid)
        .tags(["spindle"])
        # A load takes minutes. In an hour each of its points would be a pixel.
        .time("now-15m", "now")
        .refresh("10s")
        .timezone("browser")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .link(
            dashboards.DashboardLink("Spindle")
            .type(models.DashboardLinkType.DASHBOARDS)
            .tags(["spindle"])
            .keep_time(True)
        )
        .link(dashboards.DashboardLink("Runbook").type(models.DashboardLinkType.LINK).url(f"/d/{RUNBOOK_BOARD}"))
        .variables([source_choice(), *variables])
    )
    for row in rows:
        made = dashboards.Row(row.title).collapsed(row.collapsed)
        for panel in row.panels if row.collapsed else ():
            made = made.with_panel(panel)
        board = board.with_row(made)
        for panel in () if row.collapsed else row.panels:
            board = board.with_panel(panel)
    return json.dumps(_numbered(board.build()), cls=JSONEncoder, indent=1) + "\n"


def _numbered(board: models.Dashboard) -> models.Dashboard:
    """Give each panel an id: Grafana numbers them again at each loading if there is none."""
    there = [
        each
        for panel in board.panels or []
        for each in (panel, *(panel.panels if isinstance(panel, models.RowPanel) else ()))
    ]
    for number, panel in enumerate(there, start=1):
        panel.id_val = number
    return board
