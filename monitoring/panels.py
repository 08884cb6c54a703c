"""The few shapes of panel that the dashboards are made of, on top of Grafana's own builders."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import common as common_builders
from grafana_foundation_sdk.builders import dashboard as dashboards
from grafana_foundation_sdk.builders import heatmap, prometheus, stat, timeseries
from grafana_foundation_sdk.cog import variants
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models import heatmap as heatmap_models
from grafana_foundation_sdk.models import prometheus as prometheus_models

from monitoring.alerts import ALERTS, RUNBOOK
from monitoring.signals import Signal

SOURCE = models.DataSourceRef(type_val="prometheus", uid="prometheus")
WIDTH = 24  # of Grafana's grid
_GOOD, _BAD = "green", "red"
# Grafana's own: four scrapes at the least, and never less than what one pixel shows.
RATE = "$__rate_interval"

Panel = Builder[models.Panel]
Row = tuple[str, Sequence[Panel]]


@dataclass(frozen=True, slots=True)
class Query:
    """An expression, and how Grafana calls its series: text with `{{label}}` in it."""

    expression: str
    legend: str


def line(
    title: str,
    meaning: str,
    *queries: Query,
    unit: str,
    signal: Signal | None = None,
    width: int = 8,
    top: float | None = None,
) -> Panel:
    """Curves over time. Where a signal is given, the number at which its alert finds it bad is drawn as a line."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(_with_alerts(meaning, signal))
        .datasource(SOURCE)
        .unit(unit)
        .min(0)
        .span(width)
        .height(8)
        .line_width(1)
        .fill_opacity(10)
        .show_points(common.VisibilityMode.NEVER)
        .legend(_legend())
        .tooltip(
            common_builders.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI).sort(common.SortOrder.DESCENDING)
        )
        .targets(_targets(queries))
    )
    if top is not None:
        panel = panel.max(top)
    if signal is not None:
        style = common_builders.GraphThresholdsStyleConfig().mode(common.GraphThresholdsStyleMode.DASHED)
        panel = panel.thresholds(_thresholds(signal)).thresholds_style(style)
    return panel


def number(
    title: str,
    meaning: str,
    query: Query,
    *,
    unit: str = "none",
    signal: Signal | None = None,
    words: Mapping[int, str] | None = None,
    width: int = 4,
) -> Panel:
    """What is so now: a number per series, or the word that stands for it; red where the alert finds it bad."""
    panel = (
        stat.Panel()
        .title(title)
        .description(_with_alerts(meaning, signal))
        .datasource(SOURCE)
        .unit(unit)
        .span(width)
        .height(5)
        .graph_mode(common.BigValueGraphMode.NONE)
        .text_mode(common.BigValueTextMode.VALUE_AND_NAME)
        .color_mode(common.BigValueColorMode.BACKGROUND if signal else common.BigValueColorMode.NONE)
        .reduce_options(common_builders.ReduceDataOptions().calcs(["lastNotNull"]))
        .targets(_targets([query], instant=True))
    )
    if signal is not None:
        panel = panel.thresholds(_thresholds(signal))
    if words is not None:
        texts = {str(value): models.ValueMappingResult(text=text) for value, text in words.items()}
        panel = panel.mappings([models.ValueMap(options=texts)])
    return panel


def cloud(title: str, meaning: str, query: Query, *, unit: str, width: int = 8) -> Panel:
    """A histogram over time, from its buckets."""
    return (
        heatmap.Panel()
        .title(title)
        .description(meaning)
        .datasource(SOURCE)
        .span(width)
        .height(8)
        .calculate(False)
        .y_axis(heatmap.YAxisConfig().unit(unit))
        .color(heatmap.HeatmapColorOptions().mode(heatmap_models.HeatmapColorMode.SCHEME).scheme("Oranges").steps(32))
        .with_target(_target("A", query).range().format(prometheus_models.PromQueryFormat.HEATMAP))
    )


def choice(name: str, label: str, query: str) -> dashboards.QueryVariable:
    """A variable that takes the values of a label, one of them at a time."""
    return (
        dashboards.QueryVariable(name)
        .label(label)
        .datasource(SOURCE)
        .query({"query": query, "refId": name})
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
    )


def _targets(queries: Sequence[Query], *, instant: bool = False) -> list[Builder[variants.Dataquery]]:
    targets = [_target(letter, query) for letter, query in zip("ABCDEFGH", queries, strict=False)]
    return [target.instant() if instant else target.range() for target in targets]


def _target(letter: str, query: Query) -> prometheus.Dataquery:
    return prometheus.Dataquery().ref_id(letter).datasource(SOURCE).expr(query.expression).legend_format(query.legend)


def _thresholds(signal: Signal) -> Builder[models.ThresholdsConfig]:
    """Grafana colours from a value upwards: a signal that is bad above 0 is bad from anything above it."""
    if signal.below:
        steps = [models.Threshold(None, _BAD), models.Threshold(signal.bad, _GOOD)]
    else:
        steps = [models.Threshold(None, _GOOD), models.Threshold(signal.bad or 1e-9, _BAD)]
    return dashboards.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps)


def _with_alerts(meaning: str, signal: Signal | None) -> str:
    names = [alert.name for alert in ALERTS if alert.signal is signal]
    return " ".join([meaning, *(f"Alert: {name} ({RUNBOOK})." for name in names)])


def _legend() -> Builder[common.VizLegendOptions]:
    return (
        common_builders.VizLegendOptions()
        .display_mode(common.LegendDisplayMode.TABLE)
        .placement(common.LegendPlacement.BOTTOM)
        .show_legend(True)
        .calcs(["lastNotNull", "max"])
    )
