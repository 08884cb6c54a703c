"""promtool finds no fault with rules, configuration and what the services expose; and the rules do as they say."""

import shutil
from pathlib import Path

import pytest
import yaml
from prometheus_client import generate_latest

from common.batching.batch import Trigger
from common.envelope import ControlType
from common.errors import Reason
from common.outcomes import Outcomes
from common.storing.breaker import Breaker
from common.telemetry.metrics import REGISTRY, KindMetrics
from monitoring.__main__ import HERE
from monitoring.alerts import ALERTS
from tests.monitoring.prometheus import promtool
from tests.monitoring.queries import RULES

CASES = Path(__file__).parent / "cases"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Rules, configuration and cases, where another user can read them."""
    there = tmp_path / "monitoring"
    there.mkdir()
    for path in (*RULES.glob("*.yml"), *CASES.glob("*.yml")):
        shutil.copy(path, there)
    there.chmod(0o755)
    return there


def test_the_rules_are_rules(folder: Path) -> None:
    promtool("check", "rules", "--lint-fatal", *(path.name for path in RULES.glob("*.yml")), folder=folder)


def test_what_kubernetes_gets_are_rules(folder: Path) -> None:
    rule = yaml.safe_load((HERE.parent / "deploy/kubernetes/base/rules.yaml").read_text())
    (folder / "kubernetes.yml").write_text(yaml.safe_dump(rule["spec"]))

    promtool("check", "rules", "--lint-fatal", "kubernetes.yml", folder=folder)


def test_the_rules_do_as_the_cases_say(folder: Path) -> None:
    promtool("test", "rules", *sorted(path.name for path in CASES.glob("*.yml")), folder=folder)


def test_every_alert_is_seen_to_fire_and_to_be_quiet_in_a_case() -> None:
    cases = [yaml.safe_load(path.read_text()) for path in CASES.glob("*.yml")]
    tried = [alert for each in cases for test in each["tests"] for alert in test.get("alert_rule_test", ())]

    fired = {alert["alertname"] for alert in tried if alert["exp_alerts"]}
    quiet = {alert["alertname"] for alert in tried if not alert["exp_alerts"]}

    assert fired == {alert.name for alert in ALERTS}
    # These have nothing to wait for and nothing to compare with: a case of them firing has the other side in it.
    assert fired - quiet == {"SpindleRefusingEverything"}


def test_the_configuration_is_one(folder: Path) -> None:
    shutil.copytree(RULES, folder / "rules")
    config = (HERE / "prometheus.yml").read_text()
    (folder / "prometheus.yml").write_text(config.replace("/etc/prometheus/", ""))

    said = promtool("check", "config", "prometheus.yml", folder=folder)

    assert f"{len(list(RULES.glob('*.yml')))} rule files found" in said


def test_what_we_expose_is_as_prometheus_wants_it(folder: Path) -> None:
    _touch_everything()

    said = promtool("check", "metrics", folder=folder, given=generate_latest(REGISTRY).decode())

    assert said == ""


def _touch_everything() -> None:
    """Have a series of every metric that a kind has."""
    metrics = KindMetrics("promtool", "labels")
    metrics.begin(writers=1, consumer_timeout=1.0)
    metrics.settled(Outcomes(new=1, changed=1, unchanged=1, stale=1), superseded=1)
    metrics.dead_lettered(Reason.REFUSED)
    metrics.batch(size=1, trigger=Trigger.SIZE, limit=1)
    metrics.batch_done(1.0)
    metrics.latency(1.0)
    metrics.control(ControlType.FILE)
    metrics.watch_held(lambda: 1)
    Breaker(service="promtool", store="none")
