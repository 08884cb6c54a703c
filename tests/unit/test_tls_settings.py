"""The settings of TLS: what belongs together, and what does not."""

from pathlib import Path

import pytest

from common.environment import load
from common.errors import SettingsError
from common.settings import BrokerSettings


@pytest.fixture
def pem(tmp_path: Path) -> str:
    path = tmp_path / "some.pem"
    path.touch()
    return str(path)


def test_one_variable_switches_it_on() -> None:
    broker = load(BrokerSettings, {"RABBITMQ_TLS": "true", "RABBITMQ_PORT": "5671"})

    assert broker.url.get_secret_value() == "amqps://guest:guest@localhost:5671/%2F"


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
