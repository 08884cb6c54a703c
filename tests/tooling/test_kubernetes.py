"""The Kubernetes manifests: valid by their schemas, and in agreement with our settings, images and queue names.

No cluster is asked. The kinds of KEDA and of the Prometheus operator have no schema here: their required fields, and
those that a mistake would leave without effect, are looked at by hand.
"""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]  # it ships no types
import pytest
import yaml

from common import VERSION
from common.kinds import KINDS, Names, Service
from common.settings.environment import Settings, load, variables
from common.settings.programs import ProgramSettings
from extractor.settings import ExtractorSettings
from graphinator.settings import GraphinatorSettings
from spindle.settings import OperatorSettings
from tableinator.settings import TableinatorSettings

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy/kubernetes"
CUSTOM = ("ScaledObject", "TriggerAuthentication", "ServiceMonitor", "PrometheusRule")
MARGIN = 5.0
"""Seconds that a pod needs beyond its drain: what follows it takes one, and a busy node a few."""

MODELS: dict[str, tuple[type[Settings], ...]] = {
    "graphinator": (GraphinatorSettings,),
    "tableinator": (TableinatorSettings,),
    "extractor": (ExtractorSettings,),
    "spindle": (OperatorSettings, GraphinatorSettings, TableinatorSettings),
}

Manifest = dict[str, Any]


def _documents() -> Iterator[tuple[str, Manifest]]:
    for path in sorted(FOLDER.rglob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text()):
            if document["kind"] != "Kustomization":
                name = document["metadata"].get("name") or document["metadata"]["generateName"]
                yield f"{path.stem} {document['kind']} {name}", document


DOCUMENTS = dict(_documents())
WORKLOADS = {name: each for name, each in DOCUMENTS.items() if each["kind"] in ("Deployment", "Job")}
SCALERS = {each["metadata"]["name"]: each for each in DOCUMENTS.values() if each["kind"] == "ScaledObject"}


def of_kind(kind: str) -> dict[str, Manifest]:
    """The manifests of one kind, by name."""
    return {each["metadata"]["name"]: each for each in DOCUMENTS.values() if each["kind"] == kind}


def pod(workload: Manifest) -> Manifest:
    """What a Deployment or a Job makes pods of."""
    spec: Manifest = workload["spec"]["template"]["spec"]
    return spec


def container(workload: Manifest) -> Manifest:
    """The only container."""
    [only] = pod(workload)["containers"]
    return dict(only)


def environment(workload: Manifest) -> dict[str, str]:
    """The variables of the container; a secret's are a word of our own."""
    found: dict[str, str] = {}
    for source in container(workload)["envFrom"]:
        found |= of_kind("ConfigMap")[source["configMapRef"]["name"]]["data"]
    return found | {each["name"]: each.get("value", "a secret") for each in container(workload)["env"]}


@pytest.mark.parametrize("name", [name for name, each in DOCUMENTS.items() if each["kind"] not in CUSTOM])
@pytest.mark.parametrize("version", ["1.29", "1.37"])
def test_core_kinds_fit_their_schema(name: str, version: str) -> None:
    kubernetes_validate.validate(DOCUMENTS[name], version, strict=True)


def test_the_base_lists_every_file() -> None:
    listed = yaml.safe_load((FOLDER / "base/kustomization.yaml").read_text())["resources"]

    assert set(listed) == {path.name for path in (FOLDER / "base").iterdir()} - {"kustomization.yaml"}


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="there is no kubectl")
def test_the_base_can_be_built() -> None:
    built = subprocess.run(
        ["kubectl", "kustomize", str(FOLDER / "base")], capture_output=True, text=True, timeout=60, check=False
    )

    assert built.returncode == 0, built.stderr
    documents = list(yaml.safe_load_all(built.stdout))
    assert {each["metadata"].get("namespace") for each in documents if each["kind"] != "Namespace"} == {"spindle"}
    images = {container(each)["image"] for each in documents if each["kind"] == "Deployment"}
    assert images == {f"spindle-graphinator:{VERSION}", f"spindle-tableinator:{VERSION}"}


@pytest.mark.parametrize("name", WORKLOADS)
def test_every_variable_is_a_setting_with_a_value_that_it_takes(name: str) -> None:
    workload = WORKLOADS[name]
    models = MODELS[container(workload)["name"]]

    given = environment(workload)

    # The settings' map is for all programs: what one does not read another does.
    everybody = {known for each in MODELS.values() for model in each for known, _ in variables(model)}
    own = {known for model in models for known, _ in variables(model)}
    assert set(given) <= everybody
    assert {each["name"] for each in container(workload)["env"]} <= own
    for model in models:
        load(model, given)


@pytest.mark.parametrize("name", WORKLOADS)
def test_a_pod_is_given_longer_than_its_drain(name: str) -> None:
    workload = WORKLOADS[name]
    settings = load(_program(workload), environment(workload))

    assert pod(workload)["terminationGracePeriodSeconds"] >= settings.drain_limit + MARGIN


@pytest.mark.parametrize("service", list(Service))
def test_ports_and_probes_agree_with_the_settings(service: Service) -> None:
    workload = of_kind("Deployment")[service]
    [port] = container(workload)["ports"]
    [exposed] = of_kind("Service")[service]["spec"]["ports"]

    default = _program(workload).model_fields["metrics_port"].default

    assert port["containerPort"] == exposed["port"] == default == int(environment(workload)["METRICS_PORT"])
    assert {probe: container(workload)[f"{probe}Probe"]["httpGet"] for probe in ("liveness", "readiness")} == {
        "liveness": {"path": "/health/live", "port": port["name"]},
        "readiness": {"path": "/health/ready", "port": port["name"]},
    }


@pytest.mark.parametrize("name", WORKLOADS)
def test_images_are_those_that_the_dockerfile_builds(name: str) -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    image, _, tag = container(WORKLOADS[name])["image"].partition(":")
    listed = {each["name"]: each for each in yaml.safe_load((FOLDER / "base/kustomization.yaml").read_text())["images"]}

    assert image.removeprefix("spindle-") in re.findall(r"^FROM \w+ AS (\w+)$", dockerfile, re.MULTILINE)
    assert (tag or listed[image]["newTag"]) == VERSION


@pytest.mark.parametrize("name", WORKLOADS)
def test_pods_run_restricted(name: str) -> None:
    workload = WORKLOADS[name]
    user = re.search(r"^USER (\d+):(\d+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert user is not None
    security = pod(workload)["securityContext"]

    assert (security["runAsUser"], security["runAsGroup"]) == (int(user[1]), int(user[2]))
    assert security["runAsNonRoot"] is True
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container(workload)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod(workload)["automountServiceAccountToken"] is False
    assert container(workload)["resources"]["limits"].keys() == {"memory"}


@pytest.mark.parametrize("name", WORKLOADS)
def test_kubernetes_sets_no_variables_of_its_own(name: str) -> None:
    # For a service named rabbitmq it would set RABBITMQ_PORT=tcp://10.0.0.1:5672.
    assert pod(WORKLOADS[name])["enableServiceLinks"] is False


@pytest.mark.parametrize("name", WORKLOADS)
def test_passwords_come_from_the_secret(name: str) -> None:
    example = of_kind("Secret")["spindle-passwords"]["stringData"]
    own = container(WORKLOADS[name])["env"]
    secret = {each["name"]: each["valueFrom"]["secretKeyRef"] for each in own if "valueFrom" in each}

    assert {variable for variable in environment(WORKLOADS[name]) if "PASSWORD" in variable} == set(secret)
    assert {reference["name"] for reference in secret.values()} == {"spindle-passwords"}
    assert {reference["key"] for reference in secret.values()} <= set(example)


def test_no_password_is_written_down() -> None:
    [(_, secret)] = of_kind("Secret").items()

    assert {secret["stringData"][key] for key in ("rabbitmq", "postgres", "neo4j")} == {""}
    assert not any("PASSWORD" in name for each in of_kind("ConfigMap").values() for name in each["data"])


@pytest.mark.parametrize("service", list(Service))
def test_the_scaler_counts_every_queue_of_its_service_and_no_dead_letters(service: Service) -> None:
    names = Names(environment(of_kind("Deployment")[service])["DISCOGS_EXCHANGE_PREFIX"])
    [trigger] = SCALERS[service]["spec"]["triggers"]
    pattern = re.compile(trigger["metadata"]["queueName"])

    every = [name(each, kind) for each in Service for kind in KINDS for name in (names.queue, names.dead_letter_queue)]

    assert {queue for queue in every if pattern.search(queue)} == {names.queue(service, kind) for kind in KINDS}


@pytest.mark.parametrize("service", list(Service))
def test_the_scaler_counts_what_is_unacknowledged(service: Service) -> None:
    # By AMQP, or without saying that they count, a prefetch that has emptied the queue would look like no work.
    spec = SCALERS[service]["spec"]
    [trigger] = spec["triggers"]

    assert SCALERS[service]["apiVersion"] == "keda.sh/v1alpha1"
    assert spec["scaleTargetRef"]["name"] in of_kind("Deployment")
    assert 1 <= spec["minReplicaCount"] <= spec["maxReplicaCount"]
    assert trigger["type"] == "rabbitmq"
    assert trigger["authenticationRef"]["name"] in of_kind("TriggerAuthentication")
    assert all(isinstance(value, str) for value in trigger["metadata"].values())
    wanted = {"protocol": "http", "mode": "QueueLength", "excludeUnacknowledged": "false", "useRegex": "true"}
    assert trigger["metadata"].items() >= wanted.items()
    assert trigger["metadata"]["vhostName"] == environment(of_kind("Deployment")[service])["RABBITMQ_VHOST"]


def test_the_scaler_logs_in_with_keys_of_the_secret() -> None:
    [authentication] = of_kind("TriggerAuthentication").values()
    references = authentication["spec"]["secretTargetRef"]
    secret = of_kind("Secret")["spindle-passwords"]["stringData"]

    assert [reference["parameter"] for reference in references] == ["host", "username", "password"]
    assert {reference["name"] for reference in references} == {"spindle-passwords"}
    assert {reference["key"] for reference in references} <= set(secret)


def test_every_replica_is_scraped() -> None:
    [monitor] = of_kind("ServiceMonitor").values()
    [endpoint] = monitor["spec"]["endpoints"]
    [selected] = monitor["spec"]["selector"]["matchExpressions"]

    assert monitor["apiVersion"] == "monitoring.coreos.com/v1"
    assert endpoint["path"] == "/metrics"
    for name, service in of_kind("Service").items():
        assert service["metadata"]["labels"][selected["key"]] in selected["values"]
        assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
        assert service["spec"]["selector"] == of_kind("Deployment")[name]["spec"]["template"]["metadata"]["labels"]


def test_the_alerts_are_those_of_compose_but_for_jobs_that_only_compose_names() -> None:
    [rule] = of_kind("PrometheusRule").values()
    composed = [
        group
        for name in ("recordings", "alerts")
        for group in yaml.safe_load((ROOT / f"monitoring/rules/{name}.yml").read_text())["groups"]
    ]

    assert rule["apiVersion"] == "monitoring.coreos.com/v1"
    assert [group["name"] for group in rule["spec"]["groups"]] == [group["name"] for group in composed]
    ours, theirs = (
        {each.get("alert", each.get("record")): each for group in groups for each in group["rules"]}
        for groups in (rule["spec"]["groups"], composed)
    )
    assert [name for name in theirs if ours[name] != theirs[name]] == ["SpindleServiceDown"]
    assert list(ours) == list(theirs)


def test_the_jobs_of_the_alerts_are_what_is_scraped() -> None:
    [rule] = of_kind("PrometheusRule").values()
    [monitor] = of_kind("ServiceMonitor").values()
    jobs = {each["metadata"]["labels"][monitor["spec"]["jobLabel"]] for each in of_kind("Service").values()}

    asked = set(re.findall(r'job=~?"([^"]+)"', " ".join(each["expr"] for each in _rules(rule))))

    assert {job for pattern in asked for job in pattern.split("|")} == jobs


@pytest.mark.parametrize("service", list(Service))
def test_one_name_stands_for_every_replica(service: Service) -> None:
    # As `spindle status` asks them: also those that are not ready.
    spec = of_kind("Service")[service]["spec"]
    [place] = OperatorSettings(doctor_disk="").places[service]

    assert spec["clusterIP"] == "None"
    assert spec["publishNotReadyAddresses"] is True
    assert place == f"{service}:{spec['ports'][0]['port']}"


@pytest.mark.parametrize("service", list(Service))
def test_a_disruption_takes_one_replica_at_a_time(service: Service) -> None:
    budget = of_kind("PodDisruptionBudget")[service]["spec"]

    assert budget["maxUnavailable"] == 1
    assert budget["selector"] == of_kind("Deployment")[service]["spec"]["selector"]


def _rules(rule: Manifest) -> Iterator[Manifest]:
    for group in rule["spec"]["groups"]:
        yield from group["rules"]


def _program(workload: Manifest) -> type[ProgramSettings]:
    model = MODELS[container(workload)["name"]][0]
    assert issubclass(model, ProgramSettings)
    return model
