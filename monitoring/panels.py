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

# A variable of every board: in another Grafana the data source has another uid.
SOURCE = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
PROVISIONED = ("Prometheus", "prometheus")  # its name and uid in provisioning/datasources
WIDTH = 24  # of Grafana's grid
_GOOD, _BAD = "green", "red"
# Grafana's own: four scrapes at the least, and never less than what one pixel shows.
RATE = "$__rate_interval"

# The same thing has the same colour on every panel. Later lines win.
_COLOURS = (
    ("^graphinator", "blue"),
    ("^tableinator", "orange"),
    ("published|at the most|limit|consumer timeout", "text"),
    ("changed$", "yellow"),
    ("new$", "green"),
    ("unchanged$", "super-light-blue"),
    ("stale$", "purple"),
    ("superseded$", "light-purple"),
    ("dead.lettered$|dead letters|unavailable$", "red"),
    ("conflict$", "light-orange"),
)

Panel = Builder[models.Panel]


@dataclass(frozen=True, slots=True)
class Row:
    """A question, and the panels that answer it; collapsed: those that one opens for a reason."""

    title: str
    panels: Sequence[Panel]
    collapsed: bool = False


@dataclass(frozen=True, slots=True)
class Query:
    """An expression, and how Grafana calls its series: text with `{{label}}` in it.

    For numbers, `words` stand for values, and `signal` says which are red. For lines, `dashed` draws a limit, and
    `colour` is another than that of the name.
    """

    expression: str
    legend: str
    words: Mapping[int, str] | None = None
    signal: Signal | None = None
    dashed: bool = False
    colour: str | None = None


def line(
    title: str,
    meaning: str,
    *queries: Query,
    unit: str = "short",
    signal: Signal | None = None,
    width: int = 8,
    height: int = 8,
    top: float | None = None,
    logarithmic: bool = False,
    stacked: bool = False,
    shades: str | None = None,
    otherwise: str | None = None,
) -> Panel:
    """Curves over time. Where a signal is given, the number at which its alert finds it bad is drawn as a line.

    `shades`: all of them in shades of one colour. `otherwise`: what stands there while there is nothing to draw.
    """
    panel = (
        timeseries.Panel()
        .title(title)
        .description(_with_alerts(meaning, signal))
        .datasource(SOURCE)
        .unit(unit)
        .span(width)
        .height(height)
        .line_width(1)
        .fill_opacity(40 if stacked else 0)
        .show_points(common.VisibilityMode.NEVER)
        # In a list below more names fit than in a table, and what a series was when it ended is nobody's question.
        .legend(_legend(common.LegendPlacement.RIGHT if width >= WIDTH // 2 else common.LegendPlacement.BOTTOM))
        .tooltip(
            common_builders.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI).sort(common.SortOrder.DESCENDING)
        )
        .targets(_targets(queries))
    )
    if logarithmic:
        scale = common_builders.ScaleDistributionConfig().type(common.ScaleDistribution.LOG).log(10)
        panel = panel.scale_distribution(scale)
    else:
        panel = panel.min(0)
    if stacked:
        panel = panel.stacking(common_builders.StackingConfig().mode(common.StackingMode.NORMAL).group("A"))
    if unit == "percentunit":
        panel = panel.decimals(0)
    if unit in ("short", "none"):
        panel = panel.axis_soft_max(1)  # nothing but zeros would have an axis to 100
    if top is not None:
        panel = panel.max(top)
    if otherwise is not None:
        panel = panel.no_value(otherwise)
    if signal is not None and signal.bad:  # a line on zero is red in peace
        style = common_builders.GraphThresholdsStyleConfig().mode(common.GraphThresholdsStyleMode.DASHED)
        panel = panel.thresholds(_drawn(signal)).thresholds_style(style)
    if shades is not None:
        panel = panel.color_scheme(dashboards.FieldColor().mode(models.FieldColorModeId.SHADES).fixed_color(shades))
    for pattern, colour in _COLOURS if shades is None else ():
        panel = panel.override_by_regexp(f"/{pattern}/", [_colour(colour)])
    for letter, query in zip(_LETTERS, queries, strict=False):
        looks = [_colour(query.colour)] if query.colour else []
        if query.dashed:
            looks += [_property("custom.lineStyle", {"fill": "dash", "dash": [6, 6]})]
        if looks:
            panel = panel.override_by_query(letter, looks)
    return panel


def number(
    title: str,
    meaning: str,
    *queries: Query,
    unit: str = "none",
    width: int = 6,
    height: int = 4,
    decimals: int | None = None,
    otherwise: str | None = None,
    coloured: bool = True,
    listed: bool = False,
) -> Panel:
    """What is so now: a number per series, or the word that stands for it; red where the alert finds it bad.

    `listed`: one below the other, the name beside the number, for which four columns are wide enough.
    """
    panel = _stat(title, _with_alerts(meaning, *(query.signal for query in queries)), queries, width, height)
    panel = panel.unit(unit).text_mode(common.BigValueTextMode.VALUE_AND_NAME)
    panel = panel.text(_sizes(14, 16) if listed else _sizes(15, 24))
    if listed:
        panel = panel.orientation(common.VizOrientation.HORIZONTAL)
    panel = panel.color_mode(common.BigValueColorMode.BACKGROUND if coloured else common.BigValueColorMode.NONE)
    if decimals is not None:
        panel = panel.decimals(decimals)
    if otherwise is not None:
        panel = panel.no_value(otherwise)
    for letter, query in zip(_LETTERS, queries, strict=False):
        looks = []
        if query.words is not None:
            looks.append(_property("mappings", [{"type": "value", "options": _texts(query.words)}]))
        if query.signal is not None:
            looks.append(_property("thresholds", {"mode": "absolute", "steps": _steps(query.signal)}))
        if looks:
            panel = panel.override_by_query(letter, looks)
    return panel.thresholds(_plain())


def names(
    title: str, meaning: str, query: Query, *, width: int, height: int, otherwise: str | None = None
) -> stat.Panel:
    """The names of series, one below the other: red from 2, orange at 1, green at 0, blue below."""
    panel = _stat(title, meaning, [query], width, height)
    panel = panel.text_mode(common.BigValueTextMode.NAME).color_mode(common.BigValueColorMode.BACKGROUND_SOLID)
    panel = panel.orientation(common.VizOrientation.HORIZONTAL).text(_sizes(15, 15))
    if otherwise is not None:
        panel = panel.no_value(otherwise)
    return panel.thresholds(
        dashboards.ThresholdsConfig()
        .mode(models.ThresholdsMode.ABSOLUTE)
        .steps(
            [
                models.Threshold(None, "dark-blue"),
                models.Threshold(0, "dark-green"),
                models.Threshold(1, "dark-orange"),
                models.Threshold(2, "dark-red"),
            ]
        )
    )


def alerts(title: str, query: Query, *, width: int, height: int) -> Panel:
    """The alerts that fire, each as what it means; a click leads to its entry in the runbook."""
    panel = names(
        title,
        "The most urgent six: red calls somebody, orange can wait for the morning. A click leads to the runbook.",
        query,
        width=width,
        height=height,
    )
    for alert in ALERTS:
        link = {"title": f"Runbook: {alert.name}", "url": runbook_link(alert.name), "targetBlank": True}
        panel = panel.override_by_regexp(
            f"/^{alert.name}\\b/",
            [
                _property("displayName", f"${{__field.labels.service}}: {alert.meaning} ({alert.name})"),
                _property("links", [link]),
            ],
        )
    return panel


def runbook_link(alert: str) -> str:
    """Where the board with the runbook shows this alert's entry."""
    number = [each.name for each in ALERTS].index(alert) + 1
    return f"/d/{RUNBOOK_BOARD}?viewPanel={number}"


RUNBOOK_BOARD = "spindle-runbook"


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


def source_choice() -> dashboards.DatasourceVariable:
    """The variable for the data source: the provisioned one, or whatever Prometheus another Grafana has."""
    text, value = PROVISIONED
    return (
        dashboards.DatasourceVariable("datasource")
        .label("Data source")
        .type("prometheus")
        .current(models.VariableOption(text=text, value=value))
    )


_LETTERS = "ABCDEFGHIJKL"


def _stat(title: str, meaning: str, queries: Sequence[Query], width: int, height: int) -> stat.Panel:
    return (
        stat.Panel()
        .title(title)
        .description(meaning)
        .datasource(SOURCE)
        .span(width)
        .height(height)
        .graph_mode(common.BigValueGraphMode.NONE)
        .reduce_options(common_builders.ReduceDataOptions().calcs(["lastNotNull"]))
        .targets(_targets(queries, instant=True))
    )


def _targets(queries: Sequence[Query], *, instant: bool = False) -> list[Builder[variants.Dataquery]]:
    targets = [_target(letter, query) for letter, query in zip(_LETTERS, queries, strict=False)]
    return [target.instant() if instant else target.range() for target in targets]


def _target(letter: str, query: Query) -> prometheus.Dataquery:
    return prometheus.Dataquery().ref_id(letter).datasource(SOURCE).expr(query.expression).legend_format(query.legend)


def _drawn(signal: Signal) -> Builder[models.ThresholdsConfig]:
    """A red line at the number, on whichever side of it is bad."""
    steps = [models.Threshold(None, "transparent"), models.Threshold(signal.bad, _BAD)]
    return dashboards.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps)


def _plain() -> Builder[models.ThresholdsConfig]:
    return dashboards.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps([models.Threshold(None, "text")])


def _steps(signal: Signal) -> list[dict[str, object]]:
    """Grafana colours from a value upwards: a signal that is bad above 0 is bad from anything above it."""
    if signal.below:
        return [{"color": _BAD, "value": None}, {"color": _GOOD, "value": signal.bad}]
    return [{"color": _GOOD, "value": None}, {"color": _BAD, "value": signal.bad or 1e-9}]


def _texts(words: Mapping[int, str]) -> dict[str, dict[str, object]]:
    return {str(value): {"text": text, "index": index} for index, (value, text) in enumerate(words.items())}


def _colour(colour: str) -> models.DynamicConfigValue:
    return _property("color", {"mode": "fixed", "fixedColor": colour})


def _property(name: str, value: object) -> models.DynamicConfigValue:
    return models.DynamicConfigValue(id_val=name, value=value)


def _sizes(title: int, value: int) -> Builder[common.VizTextDisplayOptions]:
    """Left to itself Grafana writes a name in 7 pixels beside a digit in 64."""
    return common_builders.VizTextDisplayOptions().title_size(title).value_size(value)


def _with_alerts(meaning: str, *given: Signal | None) -> str:
    names = [alert.name for alert in ALERTS if alert.signal in given]
    return " ".join([meaning, *(f"Alert: {name} ({RUNBOOK})." for name in names)])


def _legend(placement: common.LegendPlacement) -> Builder[common.VizLegendOptions]:
    return (
        common_builders.VizLegendOptions()
        .display_mode(common.LegendDisplayMode.LIST)
        .placement(placement)
        .show_legend(True)
        .calcs([])
    )
