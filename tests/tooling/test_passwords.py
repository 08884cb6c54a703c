"""deploy/passwords.py: which password a server of the compose stack gets, and where from."""

import importlib.util
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tests.servers.compose import ROOT

SERVERS = ("rabbitmq", "postgres", "neo4j", "grafana")


@pytest.fixture
def passwords(tmp_path: Path) -> Iterator[ModuleType]:
    """The script, with folders of the test's own in place of what compose mounts."""
    spec = importlib.util.spec_from_file_location("deploy_passwords", ROOT / "deploy/passwords.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = script  # (dataclasses look their module up)
    spec.loader.exec_module(script)
    script.OWN, script.TOLD = tmp_path / "own", tmp_path / "told"  # type: ignore[attr-defined]  # a module's globals
    script.VOLUMES, script.DATA = tmp_path / "run", tmp_path / "data"  # type: ignore[attr-defined]
    for server in SERVERS:
        (tmp_path / "run" / server).mkdir(parents=True)
        (tmp_path / "data" / server).mkdir(parents=True)
    (tmp_path / "own").mkdir()
    yield script
    del sys.modules[spec.name]


def kept(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder / "run")): path.read_text() for path in (folder / "run").glob("*/*")}


def make_data(folder: Path, *made: str) -> None:
    for name in made:
        (folder / "data" / name).mkdir(parents=True)


def test_passwords_are_made_once(passwords: ModuleType, tmp_path: Path) -> None:
    assert passwords.main() == 0
    first = kept(tmp_path)

    assert passwords.main() == 0

    assert kept(tmp_path) == first
    made = {first[f"{server}/password"].strip() for server in SERVERS}
    assert (len(made), {len(each) for each in made}) == (len(SERVERS), {48})


def test_whatever_user_a_server_is_reads_its_own(passwords: ModuleType, tmp_path: Path) -> None:
    passwords.main()

    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "run").glob("*/*")} == {0o644}


def test_a_file_of_ones_own_reaches_the_servers_forms(passwords: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "own/rabbitmq_password").write_text("my-own.password\n")
    (tmp_path / "own/neo4j_password").write_text("my-other~password")

    passwords.main()

    found = kept(tmp_path)
    assert found["rabbitmq/rabbitmq.conf"] == "default_user = spindle\ndefault_pass = my-own.password\n"
    assert found["neo4j/auth"] == "neo4j/my-other~password\n"


@pytest.mark.parametrize("password", ["seven77", "has a blank", "has#hash", "two\nlines", 'quo"ted1'])
def test_what_a_server_would_read_otherwise_is_refused(
    passwords: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], password: str
) -> None:
    (tmp_path / "own/postgres_password").write_text(password)

    assert passwords.main() == 2

    said = capsys.readouterr()
    assert "secrets/postgres_password: allowed are" in said.err
    assert password not in said.err + said.out
    assert not kept(tmp_path)


def test_a_variable_counts_where_there_is_nothing_else(passwords: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "told").write_text("rabbitmq=\npostgres=from-the-variable\nneo4j=\ngrafana=\n")
    assert passwords.main() == 0
    (tmp_path / "told").write_text("rabbitmq=\npostgres=another-one\nneo4j=another-one\ngrafana=\n")
    (tmp_path / "own/neo4j_password").write_text("from-the-file")

    assert passwords.main() == 0

    found = kept(tmp_path)
    assert (found["postgres/password"], found["neo4j/password"]) == ("from-the-variable\n", "from-the-file\n")


@pytest.mark.parametrize(
    ("server", "data"),
    [
        ("rabbitmq", "rabbitmq/mnesia/rabbit@rabbitmq"),
        ("postgres", "postgres/18/docker/PG_VERSION"),
        ("postgres", "postgres/data/PG_VERSION"),
        ("neo4j", "neo4j/databases/system"),
        ("grafana", "grafana/grafana.db"),
    ],
)
def test_no_new_password_is_made_for_data_that_has_another(
    passwords: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], server: str, data: str
) -> None:
    make_data(tmp_path, data)

    assert passwords.main() == 2

    said = capsys.readouterr().err
    assert said.startswith(f"{server}: its data was made with a password that is not here any more")
    assert f"./secrets/{server}_password" in said or f"secrets/{server}_password" in said
    assert f"docker volume rm spindle_{server}" in said
    assert not kept(tmp_path)


def test_a_volume_that_a_failed_start_left_empty_is_no_data(passwords: ModuleType, tmp_path: Path) -> None:
    make_data(tmp_path, "postgres/18", "neo4j/dbms", "rabbitmq/config")

    assert passwords.main() == 0


def test_the_old_password_or_its_variable_opens_old_data(passwords: ModuleType, tmp_path: Path) -> None:
    make_data(tmp_path, "postgres/18/docker/PG_VERSION", "neo4j/databases/system")
    (tmp_path / "own/postgres_password").write_text("the-former-one")
    (tmp_path / "told").write_text("neo4j=the-other-former-one\n")

    assert passwords.main() == 0

    found = kept(tmp_path)
    assert (found["postgres/password"], found["neo4j/password"]) == ("the-former-one\n", "the-other-former-one\n")


def test_another_file_than_before_says_that_the_server_has_to_be_told(
    passwords: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    passwords.main()
    make_data(tmp_path, "postgres/18/docker/PG_VERSION")
    (tmp_path / "own/postgres_password").write_text("a-rotated-one")
    capsys.readouterr()

    assert passwords.main() == 0

    assert "The password of postgres: from secrets/postgres_password; it is another than" in capsys.readouterr().out
    assert kept(tmp_path)["postgres/password"] == "a-rotated-one\n"
