"""The Helm chart: it renders, fits the schemas, and says without changes of values what the kustomize base says."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]  # it ships no types
import pytest
import yaml

from common import VERSION
from common.settings.environment import Settings, variables
from graphinator.settings import GraphinatorSettings
from tableinator.settings import TableinatorSettings

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy/helm/spindle"
CUSTOM = ("ScaledObject", "TriggerAuthentication", "ServiceMonitor", "PrometheusRule")
Manifest = dict[str, Any]


@pytest.fixture(scope="module")
def helm() -> str:
    """The program: on the path, or the one that is installed beside Python for the tests."""
    beside = Path(sys.executable).with_name("helm")
    found = shutil.which("helm") or (str(beside) if beside.exists() else None)
    if found is None:
        pytest.skip("there is no helm on the path, and none is to be had as a package for this machine")
    return found


def run(helm: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([helm, *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False)


def rendered(helm: str, *arguments: str | Path) -> dict[tuple[str, str], Manifest]:
    """What the chart makes, by kind and name."""
    answer = run(helm, "template", "spindle", CHART, "--namespace", "spindle", "--kube-version", "1.30.0", *arguments)
    assert answer.returncode == 0, answer.stderr
    documents = [each for each in yaml.safe_load_all(answer.stdout) if each]
    return {(each["kind"], each["metadata"]["name"]): each for each in documents}


def base() -> dict[tuple[str, str], Manifest]:
    """What kustomize is given, by kind and name."""
    folder = ROOT / "deploy/kubernetes/base"
    listed = yaml.safe_load((folder / "kustomization.yaml").read_text())
    found: dict[tuple[str, str], Manifest] = {}
    for name in listed["resources"]:
        for each in yaml.safe_load_all((folder / name).read_text()):
            found[each["kind"], each["metadata"]["name"]] = each
    tags = {each["name"]: each["newTag"] for each in listed["images"]}
    for (kind, name), each in found.items():
        if kind == "Deployment":
            [container] = each["spec"]["template"]["spec"]["containers"]
            container["image"] += f":{tags[f'spindle-{name}']}"
            container["imagePullPolicy"] = "IfNotPresent"  # the API's default for a tag
    del found["Namespace", "spindle"]  # helm makes it, with --create-namespace
    return found


def without_labels_of_helm(manifest: Manifest) -> Manifest:
    own = {"helm.sh/chart", "app.kubernetes.io/managed-by", "app.kubernetes.io/part-of"}
    metadata = {"name": manifest["metadata"]["name"]}
    if labels := {key: value for key, value in manifest["metadata"].get("labels", {}).items() if key not in own}:
        metadata["labels"] = labels
    manifest = manifest | {"metadata": metadata}
    if manifest["kind"] == "Deployment":
        manifest["spec"]["template"]["metadata"].pop("annotations", None)
    return manifest


def test_without_changes_it_says_what_the_kustomize_base_says(helm: str) -> None:
    made = {place: without_labels_of_helm(each) for place, each in rendered(helm).items()}

    assert made == base()


def test_its_version_is_the_programs() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())

    assert chart["version"] == chart["appVersion"] == VERSION


def test_it_passes_helms_own_checks(helm: str) -> None:
    answer = run(helm, "lint", "--strict", "--kube-version", "1.30.0", CHART)

    assert answer.returncode == 0, answer.stdout + answer.stderr


@pytest.mark.parametrize("version", ["1.29", "1.37"])
def test_core_kinds_fit_their_schema(helm: str, version: str) -> None:
    for (kind, _), manifest in rendered(helm, "--values", CHART.parent / "examples/operators.yaml").items():
        if kind not in CUSTOM:
            kubernetes_validate.validate(manifest, version, strict=True)


def test_an_operators_secret_brings_the_user_name_too(helm: str) -> None:
    made = rendered(helm, "--values", CHART.parent / "examples/operators.yaml")

    [container] = made["Deployment", "tableinator"]["spec"]["template"]["spec"]["containers"]
    from_secrets = {each["name"]: each["valueFrom"]["secretKeyRef"] for each in container["env"] if "valueFrom" in each}
    assert from_secrets == {
        "RABBITMQ_USERNAME": {"name": "broker-default-user", "key": "username"},
        "RABBITMQ_PASSWORD": {"name": "broker-default-user", "key": "password"},
        "POSTGRES_USERNAME": {"name": "records-app", "key": "username"},
        "POSTGRES_PASSWORD": {"name": "records-app", "key": "password"},
    }
    assert "RABBITMQ_USERNAME" not in made["ConfigMap", "spindle-settings"]["data"]
    assert not [kind for kind, _ in made if kind in ("ScaledObject", "TriggerAuthentication")]


def test_what_the_collector_asks_for_is_in_a_secret_too(helm: str) -> None:
    made = rendered(helm, "--set", "secrets.collector.name=collector,secrets.collector.key=headers")

    for service in ("graphinator", "tableinator"):
        [container] = made["Deployment", service]["spec"]["template"]["spec"]["containers"]
        assert {
            "name": "OTEL_EXPORTER_OTLP_HEADERS",
            "valueFrom": {"secretKeyRef": {"name": "collector", "key": "headers"}},
        } in container["env"]


def test_what_a_cluster_lacks_can_be_switched_off(helm: str) -> None:
    off = [
        f"{each}.enabled=false" for each in ("keda", "serviceMonitor", "rules", "networkPolicy", "state", "graphinator")
    ]

    made = rendered(helm, "--set", ",".join(off), "--set", "tableinator.replicas=3")

    assert {kind for kind, _ in made} == {"ConfigMap", "Deployment", "Service", "PodDisruptionBudget"}
    assert {name for kind, name in made if kind == "Deployment"} == {"tableinator"}
    assert made["Deployment", "tableinator"]["spec"]["replicas"] == 3


SWITCHES = {
    "graphinator": {"Deployment", "Service", "PodDisruptionBudget", "ConfigMap", "ScaledObject"},
    "tableinator": {"Deployment", "Service", "PodDisruptionBudget", "ConfigMap", "ScaledObject"},
    "keda": {"ScaledObject", "TriggerAuthentication"},
    "networkPolicy": {"NetworkPolicy"},
    "rules": {"PrometheusRule"},
    "serviceMonitor": {"ServiceMonitor"},
    "state": {"PersistentVolumeClaim"},
}


@pytest.mark.parametrize("switch", SWITCHES)
def test_each_switch_takes_out_its_own_and_nothing_else(helm: str, switch: str) -> None:
    made, whole = rendered(helm, "--set", f"{switch}.enabled=false"), base()

    gone = whole.keys() - made.keys()
    assert made.keys() < whole.keys()
    assert {kind for kind, _ in gone} == SWITCHES[switch]
    if switch in ("graphinator", "tableinator"):
        assert {name for _, name in gone} == {switch, f"{switch}-settings"}
    for (kind, _), manifest in made.items():
        if kind not in CUSTOM:
            kubernetes_validate.validate(manifest, "1.37", strict=True)


def test_a_number_of_a_file_is_written_as_it_stands(helm: str, tmp_path: Path) -> None:
    values = tmp_path / "values.yaml"
    values.write_text(
        "settings: { SOURCE_MAX_BYTES: 67108864, HOLD_LIMIT: 450.5, POSTGRES_TLS: true, LOG_LEVEL: debug }\n"
    )

    data = rendered(helm, "--values", values)["ConfigMap", "spindle-settings"]["data"]

    assert data["SOURCE_MAX_BYTES"] == "67108864"
    assert data["HOLD_LIMIT"] == "450.5"
    assert data["POSTGRES_TLS"] == "true"
    assert data["LOG_LEVEL"] == "debug"


def test_alerts_lead_to_the_runbook_that_is_named(helm: str) -> None:
    page = "https://example.org/spindle/runbook.html"

    made = rendered(helm, "--set", f"rules.runbook={page}")

    rules = [rule for group in made["PrometheusRule", "spindle"]["spec"]["groups"] for rule in group["rules"]]
    links = [rule["annotations"]["runbook_url"] for rule in rules if "alert" in rule]
    assert links
    assert {link.partition("#")[0] for link in links} == {page}


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ("rules.runbook=a page", "runbook"),
        ("settings.RABBITMQ_PASSWORD=x", "RABBITMQ_PASSWORD"),
        ("settings.OTEL_EXPORTER_OTLP_HEADERS=authorization=x", "OTEL_EXPORTER_OTLP_HEADERS"),
        ("tableinator.settings.OTEL_EXPORTER_OTLP_TRACES_HEADERS=authorization=x", "OTEL_EXPORTER_OTLP_TRACES_HEADERS"),
        ("secrets.collector.name=x", "key"),
        ("image.pullPolicy=Sometimes", "pullPolicy"),
        ("tableinator.scaling.min=0", "min"),
        ("tabelinator.enabled=false", "tabelinator"),
        ("terminationGracePeriodSeconds=12", "terminationGracePeriodSeconds is 12 and DRAIN_LIMIT of graphinator 8"),
        ("tableinator.settings.DRAIN_LIMIT=16", "DRAIN_LIMIT of tableinator 16"),
    ],
)
def test_a_wrong_value_is_refused_by_name(helm: str, wrong: str, named: str) -> None:
    answer = run(helm, "template", "spindle", CHART, "--set", wrong)

    assert answer.returncode != 0
    assert named in answer.stderr


def test_every_variable_in_the_values_is_a_setting() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    models: dict[str, type[Settings]] = {"graphinator": GraphinatorSettings, "tableinator": TableinatorSettings}

    for service, model in models.items():
        known = {name for name, _ in variables(model)}
        assert set(values[service]["settings"]) <= known
        assert set(values["settings"]) <= known
