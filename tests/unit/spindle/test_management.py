"""RabbitMQ's management API by https: whom it trusts is what the settings say."""

import json
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from common.settings.environment import load
from spindle.management import Management, NoManagement
from spindle.settings import OperatorSettings
from tests.servers.tls import Certificates

ANSWERS: dict[str, list[dict[str, Any]]] = {
    "/api/connections": [{"state": "flow"}],
    "/api/vhosts/a%2Fb/connections": [
        {"state": "running", "client_properties": {"connection_name": "extractor artists"}},
        {"state": "flow", "client_properties": {"connection_name": "another's"}},
    ],
    "/api/vhosts/c/connections": [{"state": "flow", "client_properties": {}}, {"state": "running"}],
}


class _Nodes(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(ANSWERS.get(self.path.partition("?")[0], [{"name": "rabbit"}])).encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
        """Log nothing."""


@pytest.fixture(scope="module")
def port(certificates: Certificates) -> Iterator[int]:
    """Where somebody answers by https, whose certificate no machine trusts by itself."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates.server, certificates.server_key)
    with HTTPServer(("127.0.0.1", 0), _Nodes) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def management(port: int, **variables: str) -> Management:
    """The API that an operator's settings name."""
    url = {"RABBITMQ_MANAGEMENT_URL": f"https://127.0.0.1:{port}", "RABBITMQ_TLS": "true"}
    return Management.of(load(OperatorSettings, {**url, **variables}))


def test_the_authorities_are_those_of_the_settings(port: int, certificates: Certificates) -> None:
    trusting = management(port, RABBITMQ_TLS_CA_FILE=str(certificates.authority))

    assert trusting.nodes() == [{"name": "rabbit"}]


def test_whoever_shows_a_certificate_of_others_is_told_nothing(port: int, certificates: Certificates) -> None:
    for variables in ({}, {"RABBITMQ_TLS_CA_FILE": str(certificates.other_authority)}):
        with pytest.raises(NoManagement, match=r"not trusted .*; check RABBITMQ_TLS_CA_FILE"):
            management(port, **variables).nodes()


def test_any_certificate_will_do_where_the_settings_say_so(port: int) -> None:
    assert management(port, RABBITMQ_TLS_VERIFY="false").nodes() == [{"name": "rabbit"}]


def test_a_file_that_holds_no_certificate_is_named(port: int, tmp_path: Path) -> None:
    (tmp_path / "empty.pem").touch()

    with pytest.raises(NoManagement, match="RABBITMQ_TLS_CA_FILE"):
        management(port, RABBITMQ_TLS_CA_FILE=str(tmp_path / "empty.pem")).nodes()


def test_of_a_port_without_tls_the_url_is_to_be_checked_and_nothing_of_amqp() -> None:
    with HTTPServer(("127.0.0.1", 0), _Nodes) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(NoManagement, match=r"does not speak TLS on this port; check RABBITMQ_MANAGEMENT_URL$"):
            management(server.server_address[1]).nodes()
        server.shutdown()


@pytest.mark.parametrize(("vhost", "states"), [("a/b", ["running"]), ("c", ["flow", "running"])])
def test_what_publishers_of_another_do_is_not_told(port: int, vhost: str, states: list[str]) -> None:
    asked = management(port, RABBITMQ_TLS_VERIFY="false", RABBITMQ_VHOST=vhost)

    assert asked.publisher_states() == states
