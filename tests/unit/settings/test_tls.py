"""The settings of TLS: what belongs together, and what does not."""

from pathlib import Path

import pytest

from common.errors import SettingsError
from common.settings.certificates import Peer, settings_context
from common.settings.environment import load
from common.settings.programs import BrokerSettings
from graphinator.settings import Neo4jSettings
from tableinator.settings import PostgresSettings


@pytest.fixture
def pem(tmp_path: Path) -> str:
    path = tmp_path / "some.pem"
    path.touch()
    return str(path)


def test_one_variable_switches_it_on() -> None:
    broker = load(BrokerSettings, {"RABBITMQ_TLS": "true", "RABBITMQ_PORT": "5671"})

    assert broker.url.get_secret_value() == "amqps://guest:guest@localhost:5671/%2F"


def test_stores_have_the_same_variables(pem: str) -> None:
    postgres = load(PostgresSettings, {"POSTGRES_TLS": "true", "POSTGRES_TLS_CA_FILE": pem})
    neo4j = load(Neo4jSettings, {"NEO4J_TLS": "true", "NEO4J_TLS_VERIFY": "false"})

    assert (postgres.tls, postgres.tls_ca_file, postgres.tls_verify) == (True, pem, True)
    assert (neo4j.tls, neo4j.tls_ca_file, neo4j.tls_verify) == (True, "", False)


def test_a_scheme_of_neo4j_that_says_it_too_is_refused() -> None:
    with pytest.raises(SettingsError) as error:
        load(Neo4jSettings, {"NEO4J_TLS": "true", "NEO4J_URI": "bolt+ssc://there:7687"})

    assert str(error.value) == "NEO4J_TLS is set and NEO4J_URI is bolt+ssc://…; allowed is bolt:// with NEO4J_TLS=true."


def test_files_beside_such_a_scheme_are_refused(pem: str) -> None:
    with pytest.raises(SettingsError) as error:
        load(Neo4jSettings, {"NEO4J_TLS_CA_FILE": pem, "NEO4J_URI": "neo4j+s://there:7687"})

    assert str(error.value) == (
        "NEO4J_TLS_CA_FILE is set and NEO4J_URI is neo4j+s://…; allowed is neo4j:// with NEO4J_TLS=true."
    )


def test_such_a_scheme_always_verifies() -> None:
    with pytest.raises(SettingsError) as error:
        load(Neo4jSettings, {"NEO4J_TLS_VERIFY": "false", "NEO4J_URI": "bolt+s://there:7687"})

    assert str(error.value) == (
        "NEO4J_TLS_VERIFY is set and NEO4J_URI is bolt+s://…; allowed is bolt:// with NEO4J_TLS=true."
    )


def test_a_url_switches_it_on_too(pem: str) -> None:
    environ = {"RABBITMQ_URL": "amqps://me@there/", "RABBITMQ_TLS_CA_FILE": pem}

    broker = load(BrokerSettings, environ)

    assert (broker.has_tls, broker.address) == (True, "there:5671")


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        ({"RABBITMQ_TLS_CA_FILE": "PEM"}, "RABBITMQ_TLS_CA_FILE is set without TLS; allowed is RABBITMQ_TLS=true."),
        (
            {"RABBITMQ_TLS": "true", "RABBITMQ_TLS_KEY_FILE": "PEM"},
            "RABBITMQ_TLS_KEY_FILE is set without a certificate; allowed is RABBITMQ_TLS_CERT_FILE beside it.",
        ),
        (
            {"RABBITMQ_TLS": "true", "RABBITMQ_AUTH": "external"},
            "RABBITMQ_AUTH is external without a certificate; allowed is RABBITMQ_TLS_CERT_FILE beside it.",
        ),
        (
            {"RABBITMQ_TLS": "true", "RABBITMQ_URL": "amqp://me:secret-word@there/"},
            "RABBITMQ_TLS is true and RABBITMQ_URL is amqp://…; allowed is amqps://….",
        ),
        (
            {"RABBITMQ_TLS": "true", "RABBITMQ_TLS_CERT_FILE": "/no/such/file"},
            "RABBITMQ_TLS_CERT_FILE is '/no/such/file'; allowed is the path of a file that holds the certificate to "
            "show (PEM).",
        ),
    ],
)
def test_what_does_not_belong_together_is_said(environ: dict[str, str], told: str, pem: str) -> None:
    with pytest.raises(SettingsError) as error:
        load(BrokerSettings, {name: pem if value == "PEM" else value for name, value in environ.items()})

    assert str(error.value) == told


def test_a_log_of_keys_that_somebody_asked_another_for_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSLKEYLOGFILE", "/no/such/folder/keys")

    context = settings_context(load(PostgresSettings, {"POSTGRES_TLS": "true"}), Peer("PostgreSQL", "POSTGRES", ""))

    assert context is not None and context.keylog_filename is None
