"""What docker-compose.yml promises, read from the file as compose understands it; no engine is needed."""

import json
import os
import re
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from common import VERSION
from common.settings.environment import load
from tests.servers import containers
from tests.servers.compose import PROGRAMS, ROOT, adjustable, config, inherited, reason_against_config, settings_of

CONSUMERS = ("graphinator", "tableinator")
SERVERS = ("rabbitmq", "postgres", "neo4j")
WATCHERS = ("prometheus", "alertmanager", "grafana")
ON_DEMAND = ("extractor", "spindle")
FIRST = "passwords"


@pytest.fixture(scope="module")
def services() -> dict[str, dict[str, Any]]:
    """The file's services by name."""
    reason = reason_against_config()
    if reason is not None:
        pytest.skip(reason)
    found: dict[str, dict[str, Any]] = config()["services"]
    return found


def seconds(duration: str) -> float:
    """Read compose's `1m30s`."""
    units = {"h": 3600.0, "m": 60.0, "s": 1.0}
    return sum(float(number) * units[unit] for number, unit in re.findall(r"([\d.]+)([hms])", duration))


def test_the_stack_has_servers_consumers_and_what_watches_them_and_programs_on_demand(
    services: dict[str, dict[str, Any]],
) -> None:
    assert set(services) == {FIRST, *SERVERS, *CONSUMERS, *WATCHERS, *ON_DEMAND}
    assert {name: service["profiles"] for name, service in services.items() if service.get("profiles")} == {
        "extractor": ["load"],
        "spindle": ["tools"],
        "grafana": ["dashboards"],
        "alertmanager": ["alerting"],
    }


def test_what_needs_an_image_more_is_off_until_it_is_asked_for() -> None:
    assert re.findall("^(# )?COMPOSE_PROFILES=(.*)$", _read(".env.example"), re.MULTILINE) == [
        ("# ", "dashboards,alerting")
    ]


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_may_drain_before_it_is_killed(services: dict[str, dict[str, Any]], name: str) -> None:
    # One second after the limit the program ends itself; twice that, because the engine's clock is another one.
    assert seconds(services[name]["stop_grace_period"]) >= load(PROGRAMS[name], {}).drain_limit + 2.0


def test_everything_comes_back_after_a_crash_and_a_restart_of_the_machine_but_loads(
    services: dict[str, dict[str, Any]],
) -> None:
    policies = {name: service["restart"] for name, service in services.items()}

    assert policies == {
        **dict.fromkeys((*SERVERS, *CONSUMERS, *WATCHERS), "unless-stopped"),
        **dict.fromkeys((FIRST, *ON_DEMAND), "no"),
    }


def test_no_secret_is_in_clear(services: dict[str, dict[str, Any]]) -> None:
    for service in services.values():
        for name, value in (service.get("environment") or {}).items():
            if value is not None and re.search("PASS|_AUTH$|AUTH_FILE|SECRET|TOKEN|KEY", name):
                assert name.endswith("_FILE"), name
                assert value.startswith("/run/secrets/")
            assert "@" not in (value or ""), name


def test_a_container_has_the_passwords_that_it_needs_and_may_not_change_them(
    services: dict[str, dict[str, Any]],
) -> None:
    found = {
        name: {Path(mount["target"]).name for mount in service.get("volumes", []) if "/run/secrets/" in mount["target"]}
        for name, service in services.items()
    }
    writable = {
        name
        for name, service in services.items()
        for mount in service.get("volumes", [])
        if "/run/secrets/" in mount["target"] and not mount.get("read_only")
    }

    assert {name: needed for name, needed in found.items() if needed} == {
        FIRST: {*SERVERS, "grafana"},
        **{name: {name} for name in (*SERVERS, "grafana")},
        "graphinator": {"rabbitmq", "neo4j"},
        "tableinator": {"rabbitmq", "postgres"},
        "extractor": {"rabbitmq"},
        "spindle": set(SERVERS),
    }
    assert writable == {FIRST}


def test_passwords_of_the_users_own_are_in_no_image_and_not_in_git(services: dict[str, dict[str, Any]]) -> None:
    [folder] = [mount["source"] for mount in services[FIRST]["volumes"] if mount["target"] == "/own"]

    assert Path(folder) == ROOT / "secrets"
    assert _read("secrets/.gitignore").splitlines()[-2:] == ["*", "!.gitignore"]
    assert _read(".dockerignore").splitlines()[1] == "*"


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_variable_of_a_program_is_one_of_its_settings(services: dict[str, dict[str, Any]], name: str) -> None:
    known = settings_of(name) | {f"{setting}_FILE" for setting in settings_of(name)}

    assert set(services[name]["environment"]) <= known


@pytest.mark.usefixtures("services")
@pytest.mark.parametrize("name", PROGRAMS)
def test_every_setting_but_the_stacks_own_can_be_set_from_outside(name: str) -> None:
    service = config(dict.fromkeys(settings_of(name), "7007"))["services"][name]  # (a port must look like one)

    assert {key for key, value in service["environment"].items() if value == "7007"} == adjustable(name)


def test_ports_are_published_for_this_machine_alone(services: dict[str, dict[str, Any]]) -> None:
    published = [port for service in services.values() for port in service.get("ports", [])]

    assert published
    assert {port["host_ip"] for port in published} == {"127.0.0.1"}


def test_nothing_stands_in_the_way_of_replicas(services: dict[str, dict[str, Any]]) -> None:
    assert not [name for name, service in services.items() if "container_name" in service]
    assert {port["published"] for name in CONSUMERS for port in services[name]["ports"]} == {"0"}


def test_the_metrics_port_is_the_one_that_is_published(services: dict[str, dict[str, Any]]) -> None:
    for name in CONSUMERS:
        assert [str(port["target"]) for port in services[name]["ports"]] == [
            services[name]["environment"]["METRICS_PORT"]
        ]


def test_who_needs_a_server_waits_until_it_is_healthy(services: dict[str, dict[str, Any]]) -> None:
    needed = {name: set(service.get("depends_on", {})) for name, service in services.items()}

    assert needed["graphinator"] == {"rabbitmq", "neo4j"}
    assert needed["tableinator"] == {"rabbitmq", "postgres"}
    assert needed["extractor"] == {"rabbitmq"}, "a load would undo the services' scale"
    assert not needed["spindle"], "asking would start what is asked about"
    assert all(needed[name] == {FIRST} for name in (*SERVERS, "grafana"))
    for service in services.values():
        for name, how in service.get("depends_on", {}).items():
            if name == FIRST:
                assert how["condition"] == "service_completed_successfully"
            else:
                assert how["condition"] == "service_healthy"
                assert services[name]["healthcheck"]["test"]


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_can_change_nothing_but_its_temporary_folder_and_manifests(
    services: dict[str, dict[str, Any]], name: str
) -> None:
    service = services[name]

    assert service["read_only"]
    assert [mount.partition(":")[0] for mount in service["tmpfs"]] == ["/tmp"]
    assert service["cap_drop"] == ["ALL"]
    writable = [mount["target"] for mount in service["volumes"] if not mount.get("read_only")]
    assert writable == (["/state"] if name in ("extractor", "spindle") else [])


def test_every_container_has_limits(services: dict[str, dict[str, Any]]) -> None:
    for service in services.values():
        assert int(service["deploy"]["resources"]["limits"]["memory"]) > 0
        assert service["logging"]["options"] == {
            "max-size": "10m",
            "max-file": "3",
            "mode": "non-blocking",
            "max-buffer-size": "4m",
        }
        assert "no-new-privileges:true" in service["security_opt"]


def test_the_brokers_watermark_is_half_of_its_memory_at_the_most(services: dict[str, dict[str, Any]]) -> None:
    mebibytes = re.findall(r"^vm_memory_high_watermark.absolute = (\d+)MiB$", _read("deploy/rabbitmq.conf"), re.M)

    limit = int(services["rabbitmq"]["deploy"]["resources"]["limits"]["memory"])
    assert [int(each) * 2**20 * 2 <= limit for each in mebibytes] == [True]


def test_servers_keep_their_data_in_named_volumes(services: dict[str, dict[str, Any]]) -> None:
    for name in SERVERS:
        assert {mount["type"] for mount in services[name]["volumes"]} == {"volume"}
        assert [mount for mount in services[name]["volumes"] if not mount.get("read_only")]
        assert all(mount["source"] for mount in services[name]["volumes"])


def test_images_are_pinned_by_the_version_that_their_data_and_behaviour_depend_on(
    services: dict[str, dict[str, Any]],
) -> None:
    assert [services[name]["image"] for name in (*SERVERS, *WATCHERS)] == [
        "rabbitmq:4.3-management",
        "postgres:18",
        "neo4j:5.26-community",
        "prom/prometheus:v3.13.1",
        "prom/alertmanager:v0.35.1",
        "grafana/grafana:13.2.3",
    ]


@pytest.mark.usefixtures("services")
def test_other_images_can_be_named() -> None:
    names = (*SERVERS, *WATCHERS)
    images = {f"{name.upper()}_IMAGE": f"elsewhere/{name}" for name in names}

    changed = config({**images, "PYTHON_IMAGE": "elsewhere/python"})["services"]

    assert [changed[name]["image"] for name in names] == list(images.values())
    assert {changed[name]["build"]["args"]["PYTHON_IMAGE"] for name in PROGRAMS} == {"elsewhere/python"}


def test_every_variable_of_the_file_is_in_the_example() -> None:
    used = set(re.findall(r"\$\{([A-Z0-9_]+)", _read("docker-compose.yml"))) | {"PIP_INDEX_URL"}

    assert used - {"COMPOSE_PROJECT_NAME"} <= set(re.findall(r"^# ?([A-Z0-9_]+)=", _read(".env.example"), re.MULTILINE))


def test_the_dockerfile_names_the_version() -> None:
    assert re.findall("^ARG VERSION=(.*)$", _read("Dockerfile"), re.MULTILINE) == [VERSION]


# -- what watches the stack


def test_prometheus_asks_every_replica_on_the_port_that_it_serves(services: dict[str, dict[str, Any]]) -> None:
    jobs = {job["job_name"]: job for job in _yaml("monitoring/prometheus.yml")["scrape_configs"]}

    for name in CONSUMERS:
        [found] = jobs[name]["dns_sd_configs"]
        assert (found["names"], found["type"]) == ([name], "A")
        assert str(found["port"]) == services[name]["environment"]["METRICS_PORT"]


@pytest.mark.usefixtures("services")
def test_alerts_go_to_the_address_that_is_set_and_nowhere_without_one() -> None:
    without, with_one = config()["services"], config({"ALERT_WEBHOOK_URL": "http://elsewhere/"})
    targets = {each["source"]: each["target"] for each in without["alertmanager"]["configs"]}

    def chosen(services: dict[str, Any]) -> str:
        return str(services["alertmanager"]["command"][0].partition("=")[2])

    def receiver(source: str) -> dict[str, Any]:
        read = _yaml(f"monitoring/{Path(targets[source]).name}")
        [found] = read["receivers"]
        assert read["route"]["receiver"] == found["name"]
        return dict(found)

    assert chosen(without) == targets["alertmanager"]
    assert list(receiver("alertmanager")) == ["name"]
    assert chosen(with_one["services"]) == targets["alertmanager_webhook"]
    [hook] = receiver("alertmanager_webhook")["webhook_configs"]
    assert hook["url_file"] == targets["alert_webhook_url"]
    assert with_one["configs"]["alert_webhook_url"]["content"] == "http://elsewhere/"


def test_grafana_finds_its_dashboards_and_they_their_data_source(services: dict[str, dict[str, Any]]) -> None:
    mounts = {mount["target"]: Path(mount["source"]) for mount in services["grafana"]["volumes"]}
    provisioning = mounts["/etc/grafana/provisioning"].relative_to(ROOT)
    [provider] = _yaml(f"{provisioning}/dashboards/spindle.yml")["providers"]
    [source] = _yaml(f"{provisioning}/datasources/prometheus.yml")["datasources"]
    dashboards = {path.name: path.read_text() for path in mounts[provider["options"]["path"]].glob("*.json")}

    home = Path(services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert str(home.parent) == provider["options"]["path"]
    assert home.name in dashboards
    for name, content in dashboards.items():
        # By a variable, so that they are at home in any Grafana; here it is the provisioned one.
        variables = {
            each["name"]: each.get("current", {}).get("value")
            for each in json.loads(content)["templating"].get("list", [])
        }
        uids = set(re.findall(r'"datasource": \{[^}]*"uid": "([^"]+)"', content))
        assert uids <= {"${datasource}"}, name
        assert not uids or variables["datasource"] == source["uid"], name
    assert any("${datasource}" in content for content in dashboards.values())
    assert source["url"] == f"http://prometheus:{services['prometheus']['ports'][0]['target']}"


# -- deploy/up.sh


def up(*, project: Path = ROOT, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", project / "deploy/up.sh"],
        env={**inherited(), **environ},
        capture_output=True,
        text=True,
        timeout=180.0,
    )


def test_without_docker_a_sentence_says_what_to_do_instead(tmp_path: Path) -> None:
    (tmp_path / "dirname").symlink_to(shutil.which("dirname") or "")

    done = up(PATH=str(tmp_path))

    assert (done.returncode, done.stderr) == (
        2,
        "No docker command here: without containers, the same stack starts with make stack-up.\n",
    )


@pytest.mark.usefixtures("services")
def test_without_an_engine_a_sentence_says_what_to_do_instead(tmp_path: Path) -> None:
    done = up(DOCKER_HOST=f"unix://{tmp_path}/nobody")

    assert done.returncode == 2
    assert done.stderr.startswith("No container engine answers (")
    assert done.stderr.endswith(": start it, or the same stack without containers with make stack-up.\n")


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    """A project with the same scripts, of two services: one that runs, and one whose image can't be had."""
    if (reason := reason_against_config()) is not None:
        pytest.skip(reason)
    there = tmp_path / f"spindle-up-{secrets.token_hex(4)}"  # the name of the project, and of what the engine has of it
    (there / "deploy").mkdir(parents=True)
    for name in ("deploy/up.sh", "deploy/places.sh", ".env.example"):
        shutil.copy(ROOT / name, there / name)
    image = containers.image("prometheus")
    server = {
        "image": image,
        "environment": {"POSTGRES_BATCH_SIZE": None},
    }
    none = {"image": "${GRAFANA_IMAGE:-127.0.0.1:1/none:1}", "profiles": ["dashboards"]}
    (there / "docker-compose.yml").write_text(yaml.safe_dump({"services": {"server": server, "grafana": none}}))
    yield there
    if has_engine():
        down = ["docker", "compose", "--project-name", there.name, "down", "--volumes", "--timeout", "2"]
        subprocess.run(down, cwd=there, env=inherited(), check=True, timeout=180.0)


def has_engine() -> bool:
    return os.environ.get("TEST_SERVERS") != "native" and containers.has_container("prometheus")


def needs_engine() -> None:
    if not has_engine():
        pytest.skip("no engine with Prometheus' image")


def test_a_name_that_nothing_reads_is_told(project: Path) -> None:
    (project / "docker-compose.override.yml").write_text("services: {server: {environment: {OURS: '${THEIR_OWN}'}}}\n")
    (project / ".env").write_text(
        "THEIR_OWN=1\nRABBITMQ_URL=amqp://elsewhere\n"
        "POSTGRES_BATCHSIZE=7\nexport LOGLEVEL='debug'\nPOSTGRES_BATCH_SIZE=7\nNEO4J_PASSWORD_FILE=/there\n"
        "COMPOSE_PROFILES=\nGRAFANA_IMAGE=elsewhere\n# NEVER_MIND=1\n"
    )

    done = up(project=project, DOCKER_HOST=f"unix://{project}/nobody")

    assert done.stderr.splitlines()[1].endswith(": LOGLEVEL NEO4J_PASSWORD_FILE POSTGRES_BATCHSIZE RABBITMQ_URL")


def test_what_can_not_be_had_is_left_out_and_told_last(project: Path) -> None:
    needs_engine()
    (project / ".env").write_text("COMPOSE_PROFILES=dashboards  # as in the example\n")

    done = up(project=project)

    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-2:] == [
        "Without dashboards: the image 127.0.0.1:1/none:1 can't be had. GRAFANA_IMAGE in .env names another, such as",
        "a mirror's; it is not tried again if COMPOSE_PROFILES in .env is without dashboards.",
    ]
    assert "Grafana\t" not in done.stdout  # (the columns are aligned)
    assert "off; it starts with COMPOSE_PROFILES=dashboards in .env" in done.stdout


def test_nothing_is_left_out_that_nobody_asked_for(project: Path) -> None:
    needs_engine()

    done = up(project=project)

    assert done.returncode == 0, done.stderr
    assert "Without" not in done.stderr


def test_an_image_that_can_not_be_had_is_told_with_the_variable_that_names_another(project: Path) -> None:
    needs_engine()
    file = project / "docker-compose.yml"
    services = yaml.safe_load(file.read_text())["services"]
    services["postgres"] = {"image": "${POSTGRES_IMAGE:-127.0.0.1:1/none:2}"}
    file.write_text(yaml.safe_dump({"services": services}))

    done = up(project=project)

    assert done.returncode == 2
    assert done.stderr.startswith("The image 127.0.0.1:1/none:2 can't be had: ")
    assert done.stderr.endswith("\nPOSTGRES_IMAGE in .env names another, such as a mirror's.\n")


def test_what_did_not_come_up_says_why(project: Path) -> None:
    needs_engine()
    file = project / "docker-compose.yml"
    services = yaml.safe_load(file.read_text())["services"]
    image = services["server"]["image"]
    check = {"test": ["CMD", "false"], "interval": "1s", "retries": 1}  # (or its first moment of life counts as well)
    services["graphinator"] = {"image": image, "command": ["--no.such.option"], "healthcheck": check}
    file.write_text(yaml.safe_dump({"services": services}))

    done = up(project=project)

    assert done.returncode == 2
    assert f"{project.name}-graphinator-1 is exited" in done.stderr
    assert "unknown long flag '--no.such.option'" in done.stderr


@pytest.mark.parametrize("target", ["down", "stack-down"])
def test_nothing_is_installed_in_order_to_stop(target: str) -> None:
    said = subprocess.check_output(["make", "--dry-run", target, "VENV=nowhere"], cwd=ROOT, text=True, timeout=30.0)

    assert "pip" not in said
    assert "stack down" in said


def _yaml(path: str) -> Any:
    return yaml.safe_load(_read(path))


def _read(path: str) -> str:
    return (ROOT / path).read_text()
