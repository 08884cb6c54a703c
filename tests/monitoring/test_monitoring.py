"""Rules, dashboards and the runbook agree with each other and with the code that they are made from."""

import json
import re
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from common.batching.batch import Trigger
from common.envelope import ControlType
from common.errors import Reason
from common.kinds import DEFAULT_PREFIX
from common.outcomes import Outcomes
from common.sink import Result
from common.storing.breaker import Breaker
from common.telemetry.metrics import REGISTRY, KindMetrics, await_store
from monitoring import signals
from monitoring.__main__ import HERE, files, outdated
from monitoring.alerts import ALERTS, RUNBOOK
from monitoring.signals import Signal
from tests.monitoring import queries

ROOT = HERE.parent
BOARDS = sorted(queries.DASHBOARDS.glob("*.json"))


def test_the_files_are_those_that_make_dashboards_writes() -> None:
    assert outdated() == []


def test_a_file_that_was_changed_by_hand_or_is_left_over_is_named(tmp_path: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("monitoring.__main__.HERE", tmp_path / "monitoring")
    for path, text in files().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    base, rules = tmp_path / "deploy/kubernetes/base", tmp_path / "monitoring/rules"
    (base / "rules.yaml").write_text("changed")
    (base / "mine.yaml").write_text("of others")
    (rules / "alerts.yml").write_text("changed")
    (rules / "mine.yml").write_text("left over")

    assert outdated() == [base / "rules.yaml", rules / "alerts.yml", rules / "mine.yml"]


def test_every_alert_has_an_entry_in_the_runbook_and_every_entry_an_alert() -> None:
    entries = _runbook_entries()

    assert list(entries) == [alert.name for alert in ALERTS]
    for name, text in entries.items():
        parts = re.findall(r"^\*\*(.+?)\*\*", text, re.MULTILINE)
        assert parts == ["What it means.", "What to look at.", "What to do."], name


def test_the_runbook_names_the_number_that_the_alert_has() -> None:
    for alert in ALERTS:
        text = _runbook_entries()[alert.name]
        if alert.signal.bad not in (0, 1):
            share = f"{alert.signal.bad * 100:g}%"
            assert re.search(rf"\b{alert.signal.bad:g}\b", text) or share in text, alert.name
        if alert.lasting != "0s":
            assert _in_words(alert.lasting) in text, alert.name
    assert f"{signals.SMALL_BACKLOG:,} messages" in _runbook_entries()["SpindleLatencyHigh"]


def test_alerts_lead_to_another_page_if_one_is_named() -> None:
    made = files("https://example.org/runbook")

    for path in (ROOT / "monitoring/rules/alerts.yml", ROOT / "deploy/kubernetes/base/rules.yaml"):
        links = re.findall(r"runbook_url: (.*)#", made[path])
        assert set(links) == {"https://example.org/runbook"}
        assert len(links) == made[path].count("- alert:")
    chart = ROOT / "deploy/helm/spindle/files/rules.yaml"
    assert made[chart] == files()[chart], "the chart's value replaces what stands there"


def test_every_alert_leads_to_its_entry() -> None:
    for rule in queries.rules():
        if "alert" in rule:
            path, _, anchor = rule["annotations"]["runbook_url"].partition("#")
            assert path == RUNBOOK
            assert anchor in {name.lower() for name in _runbook_entries()}
            assert rule["annotations"]["summary"]
            assert rule["annotations"]["action"]


def test_the_runbook_and_the_guide_to_performance_name_panels_that_there_are() -> None:
    boards = [json.loads(path.read_text()) for path in BOARDS]
    titles = {each["title"] for board in boards for each in (board, *queries.unfolded(board))}
    known = titles | {re.split(r", | \(", title)[0] for title in titles}

    named = {
        re.sub(r"\s+", " ", name)
        for text in [
            (ROOT / RUNBOOK).read_text(),
            (ROOT / "docs/performance.md").read_text().partition("by symptom")[2],
        ]
        for name in re.findall(r"(?<!\*)\*([A-Z][^*]+)\*(?!\*)", text)
    }

    assert named - known == set()


def test_every_signal_is_behind_an_alert_or_a_panel() -> None:
    known = {name: each for name, each in vars(signals).items() if isinstance(each, Signal)}
    shown = "\n".join(found.expression for found in queries.panels())

    assert [name for name, each in known.items() if not _is_used(each, shown)] == []


def test_every_metric_of_ours_is_asked_for_and_no_other_is() -> None:
    asked = {name for each in _everything() for name in each.metrics() if name.startswith("spindle_")}
    exported = {
        family.name: _names(family.name, family.type)
        for family in REGISTRY.collect()
        if family.name.startswith("spindle_")  # those of the process are the library's
    }

    assert asked - {name for names in exported.values() for name in names} == set()
    assert [name for name, names in exported.items() if not asked & names] == []


def test_a_panel_of_which_a_case_speaks_is_the_one_that_is_tried() -> None:
    [tried] = [
        test["expr"]
        for case in yaml.safe_load((ROOT / "tests/monitoring/cases/services.yml").read_text())["tests"]
        for test in case.get("promql_expr_test", ())
    ]

    assert tried in [found.expression for found in queries.panels() if "Processes up" in found.place]


def test_everything_that_counts_is_there_at_0_with_every_label_before_the_first() -> None:
    kind = KindMetrics("counting", "labels")

    kind.begin(writers=1, consumer_timeout=1.0)

    born = _counts_of("counting")
    _touch(kind)
    assert _counts_of("counting").keys() == born.keys()
    assert {series for series, value in born.items() if value} == set()
    still = [name for (name, _), value in _counts_of("counting").items() if not value and not name.endswith("_bucket")]
    assert still == []


def test_a_service_says_that_its_store_is_away_until_it_has_it() -> None:
    await_store("waiting", "none")

    labels = {"service": "waiting", "store": "none"}
    assert REGISTRY.get_sample_value("spindle_store_breaker_open", labels) == 1
    Breaker(service="waiting", store="none")
    assert REGISTRY.get_sample_value("spindle_store_breaker_open", labels) == 0


def test_a_failed_try_takes_time_and_is_no_store_time() -> None:
    kind = KindMetrics("trying", "labels")

    kind.transaction(Result.UNAVAILABLE, 2.0)
    kind.transaction(Result.STORED, 0.5)

    labels = {"service": "trying", "kind": "labels"}
    assert REGISTRY.get_sample_value("spindle_transaction_duration_seconds_sum", labels) == 0.5
    time_of = {
        result: REGISTRY.get_sample_value("spindle_transaction_time_seconds_total", labels | {"result": result})
        for result in (Result.STORED, Result.UNAVAILABLE)
    }
    assert time_of == {Result.STORED: 0.5, Result.UNAVAILABLE: 2.0}


def test_every_recorded_series_is_asked_for_and_no_other_is() -> None:
    asked = {name for each in _everything() for name in each.metrics() if name.startswith("spindle:")}

    assert asked == {rule["record"] for rule in queries.rules() if "record" in rule}


def test_no_query_knows_the_prefix_of_the_queues() -> None:
    assert [found for found in _everything() if DEFAULT_PREFIX.partition("-")[0] in found.expression] == []


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.name)
def test_a_dashboard_is_one_to_grafanas_own_models(path: Any) -> None:
    register_default_plugins()
    there = json.loads(path.read_text())

    again = json.loads(json.dumps(Dashboard.from_json(there), cls=JSONEncoder))

    assert again == there


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.name)
def test_panels_are_told_apart_explained_and_do_not_overlap(path: Any) -> None:
    panels = list(queries.unfolded(json.loads(path.read_text())))
    shown = [panel for panel in panels if panel["type"] not in ("row", "text")]

    for name in ("id", "title"):
        assert Counter(panel[name] for panel in panels).most_common(1)[0][1] == 1
    assert [panel["title"] for panel in shown if not panel.get("description") or not panel["targets"]] == []
    sources = [each["datasource"]["uid"] for panel in shown for each in (panel, *panel["targets"])]
    assert set(sources) <= {"${datasource}"}
    # A collapsed row's panels take no room until it is opened, and then move what is below.
    open_ones = json.loads(path.read_text())["panels"]
    cells = Counter(cell for panel in open_ones for cell in _cells(panel["gridPos"]))
    assert {cell for cell, count in cells.items() if count > 1 or cell[0] >= 24} == set()


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.name)
def test_a_query_uses_no_variable_that_the_dashboard_does_not_have(path: Any) -> None:
    board = json.loads(path.read_text())
    known = {variable["name"] for variable in board["templating"].get("list", ())} | {"__rate_interval"}
    used = set(re.findall(r"\$([a-z_]\w*)", json.dumps([panel.get("targets") for panel in queries.unfolded(board)])))

    assert used <= known


def test_the_first_screen_answers_everything_and_the_rest_is_folded() -> None:
    panels = json.loads((queries.DASHBOARDS / "overview.json").read_text())["panels"]
    rows = [panel for panel in panels if panel["type"] == "row"]
    first = [panel for panel in panels if panel["type"] != "row"]

    assert [row["title"] for row in rows if not row["collapsed"]] == [
        "Is it healthy?",
        "What is wrong?",
        "How fast, how far, how fresh, and what limits it?",
    ]
    assert {row["title"].startswith("More on ") for row in rows if row["collapsed"]} == {True}
    assert all(before["gridPos"]["y"] <= after["gridPos"]["y"] for before, after in pairwise(panels))
    assert [panel["title"] for panel in first if panel["type"] == "stat"] == [
        "Processes up",
        "Databases",
        "RabbitMQ",
        "Stopped kinds",
        "Dead letters",
        "Alerts firing",
        "Records per second",
        "Time left",
        "Age of records",
        "What limits it",
    ]
    # A row of the grid has 38 pixels, and Grafana's own header 100: 768 lines show the numbers, 1080 everything.
    assert _end(panel for panel in first if panel["type"] == "stat") * 38 + 100 <= 768
    assert _end(first) * 38 + 100 <= 1080


def test_red_in_peace_and_limits_over_the_data_are_nowhere() -> None:
    for path in BOARDS:
        for panel in queries.unfolded(json.loads(path.read_text())):
            if panel["type"] != "timeseries":
                continue
            defaults = panel["fieldConfig"]["defaults"]
            # A line on zero, and limits filled over the data, are what one had to look through before.
            is_stacked = defaults["custom"].get("stacking", {}).get("mode") == "normal"
            assert is_stacked or defaults["custom"]["fillOpacity"] == 0, panel["title"]
            if defaults["custom"].get("thresholdsStyle", {}).get("mode") == "dashed":
                [_, (colour, value)] = _steps(panel)
                assert colour == "red" and value, panel["title"]
            assert defaults["unit"] != "reqps", panel["title"]
            assert panel["options"]["legend"]["displayMode"] == "list", panel["title"]


def test_every_alert_is_listed_by_its_meaning_and_leads_to_its_entry() -> None:
    [listed] = [panel for panel in _panels("overview.json") if panel["title"] == "Alerts firing"]
    looks = {each["matcher"]["options"]: each["properties"] for each in listed["fieldConfig"]["overrides"]}
    entries = {panel["id"]: panel for panel in _panels("runbook.json")}

    for alert in ALERTS:
        name, links = (each["value"] for each in looks[rf"/^{alert.name}\b/"])
        assert name == f"${{__field.labels.service}}: {alert.meaning} ({alert.name})"
        [number] = re.findall(r"^/d/spindle-runbook\?viewPanel=(\d+)$", links[0]["url"])
        assert entries[int(number)]["title"] == alert.name
        assert "**What to do.**" in entries[int(number)]["options"]["content"]


def test_the_data_source_is_a_choice_and_the_provisioned_one_its_default() -> None:
    [source] = yaml.safe_load((HERE / "grafana/provisioning/datasources/prometheus.yml").read_text())["datasources"]

    for path in BOARDS:
        board = json.loads(path.read_text())
        if not any(panel.get("targets") for panel in queries.unfolded(board)):
            continue
        chosen = board["templating"]["list"][0]
        assert (chosen["type"], chosen["name"], chosen["query"]) == ("datasource", "datasource", source["type"])
        assert (chosen["current"]["text"], chosen["current"]["value"]) == (source["name"], source["uid"])
        assert f'"uid": "{source["uid"]}"' not in path.read_text()


def test_the_red_of_a_panel_begins_where_the_alert_does() -> None:
    steps = {panel["title"]: _steps(panel) for panel in _panels("overview.json") if panel["type"] == "timeseries"}
    of_rules = {rule["alert"]: rule["expr"] for rule in queries.rules() if "alert" in rule}

    assert steps["Batch fill"] == [("transparent", None), ("red", 0.5)]
    assert "ratio5m < 0.5" in of_rules["SpindleBatchesNotFilling"]
    assert steps["Event loop lag"] == [("transparent", None), ("red", 0.5)]
    assert of_rules["SpindleLoopLag"].endswith("> 0.5")


def test_store_unavailable_is_told_within_half_a_minute() -> None:
    [rule] = [rule for rule in queries.rules() if rule.get("alert") == "SpindleStoreUnavailable"]
    evaluated = yaml.safe_load((HERE / "prometheus.yml").read_text())["global"]["evaluation_interval"]

    assert int(rule["for"].removesuffix("s")) + 2 * int(evaluated.removesuffix("s")) <= 30


def test_who_is_called_for_a_cause_is_not_called_for_what_follows_from_it() -> None:
    page, webhook = (_inhibitions(name) for name in ("alertmanager.yml", "alertmanager-webhook.yml"))
    labels = _labels_of_alerts()

    assert page == webhook
    for rule in page:
        sources, targets = (_alertnames(rule[f"{side}_matchers"]) for side in ("source", "target"))
        assert sources | targets <= labels.keys()
        # A label that both lack would count as equal, and one that one of them lacks as never equal.
        assert all(set(rule.get("equal", ())) <= labels[name] for name in sources | targets)
    by_service = {
        name for rule in page if rule.get("equal") == ["service"] for name in _alertnames(rule["source_matchers"])
    }
    assert by_service == {"SpindleServiceDown", "SpindleStoreUnavailable", "SpindleStoreNeedsAPerson"}


def test_the_jobs_are_those_of_the_configuration() -> None:
    config = yaml.safe_load((HERE / "prometheus.yml").read_text())

    assert set(signals.JOBS) <= {job["job_name"] for job in config["scrape_configs"]}


def _everything() -> list[queries.Found]:
    return [*queries.panels(), *queries.recordings(), *queries.alerts()]


def _counts_of(service: str) -> dict[tuple[str, tuple[str, ...]], float]:
    """The samples of all counters and histograms that carry this service, but not when they were born."""
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in REGISTRY.collect()
        if family.type in ("counter", "histogram")
        for sample in family.samples
        if sample.labels.get("service") == service and not sample.name.endswith("_created")
    }


def _touch(kind: KindMetrics) -> None:
    """Count one of everything that there is."""
    kind.settled(Outcomes(new=1, changed=1, unchanged=1, stale=1), superseded=1)
    for reason in Reason:
        kind.dead_lettered(reason)
    for control in ControlType:
        kind.control(control)
    for trigger in Trigger:
        kind.batch(size=1, trigger=trigger, limit=1)
    for result in Result:
        kind.transaction(result, 1.0)
    kind.batch_done(1.0)
    kind.latency(1.0)
    kind.expired(1)
    kind.reconnected()


def _inhibitions(name: str) -> list[dict[str, Any]]:
    rules: list[dict[str, Any]] = yaml.safe_load((HERE / name).read_text())["inhibit_rules"]
    return rules


def _alertnames(matchers: list[str]) -> set[str]:
    [names] = [found[1] for each in matchers if (found := re.fullmatch(r'alertname =~? "(.+)"', each))]
    return set(names.split("|"))


def _labels_of_alerts() -> dict[str, set[str]]:
    """The labels with which each alert fires in promtool's cases."""
    found: dict[str, set[str]] = {}
    for path in (ROOT / "tests/monitoring/cases").glob("*.yml"):
        for test in yaml.safe_load(path.read_text())["tests"]:
            for alert in test.get("alert_rule_test", ()):
                for fired in alert["exp_alerts"]:
                    found.setdefault(alert["alertname"], set(fired["exp_labels"])).intersection_update(
                        fired["exp_labels"]
                    )
    return found


def _runbook_entries() -> dict[str, str]:
    parts = re.split(r"^### (\w+)\n", (ROOT / RUNBOOK).read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def _in_words(lasting: str) -> str:
    units = {"s": "seconds", "m": "minutes", "d": "days"}
    number, unit = lasting[:-1], units[lasting[-1]]
    return f"a {unit[:-1]}" if number == "1" else f"{number} {unit}"


def _is_used(signal: Signal, shown: str) -> bool:
    return any(alert.signal is signal for alert in ALERTS) or signal.value in shown


def _names(family: str, sort: str) -> set[str]:
    ends = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"], "info": ["_info"]}
    return {f"{family}{end}" for end in ends.get(sort, [""])}


def _cells(place: dict[str, int]) -> list[tuple[int, int]]:
    return [
        (x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])
    ]


def _panels(name: str) -> list[dict[str, Any]]:
    return list(queries.unfolded(json.loads((queries.DASHBOARDS / name).read_text())))


def _end(panels: Iterable[dict[str, Any]]) -> int:
    """The row of the grid below the last of them."""
    return max(int(panel["gridPos"]["y"]) + int(panel["gridPos"]["h"]) for panel in panels)


def _steps(panel: dict[str, Any]) -> list[tuple[str, float | None]]:
    steps = panel["fieldConfig"]["defaults"].get("thresholds", {}).get("steps", ())
    return [(step["color"], step["value"]) for step in steps]
