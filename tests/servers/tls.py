"""TLS in front of a broker: certificates of the run's own, and listeners that ask for them."""

import socket
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme

from tests.servers.brokers import Broker

CLIENT = "spindle-client"
"""The name in the client's certificate, and the user who may log in with it."""


class Certificates:
    """An authority, and what it has signed for servers on this machine and for clients; files in one folder."""

    def __init__(self, folder: Path, *hosts: str) -> None:
        """`hosts`: names and addresses of servers beside 127.0.0.1."""
        self._folder = folder
        self._authority, other = trustme.CA(), trustme.CA()
        self.authority, self.other_authority = folder / "ca.pem", folder / "other.pem"
        self._authority.cert_pem.write_to_path(self.authority)
        other.cert_pem.write_to_path(self.other_authority)
        self.server, self.server_key = self._sign("server", "127.0.0.1", *hosts)
        self.other_host, self.other_host_key = self._sign("other-host", "other.example")
        self.client, self.client_key = self._sign("client", "client.example", common_name=CLIENT)
        self.stranger, self.stranger_key = self._sign("stranger", "stranger.example", common_name="nobody-knows-me")
        long_ago = datetime.now(UTC) - timedelta(days=2)
        self.expired, self.expired_key = self._sign(
            "expired", "127.0.0.1", not_before=long_ago, not_after=long_ago + timedelta(days=1)
        )

    def _sign(self, name: str, *identities: str, **more: object) -> tuple[Path, Path]:
        leaf = self._authority.issue_cert(*identities, **more)  # type: ignore[arg-type]
        certificate, key = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        leaf.cert_chain_pems[0].write_to_path(certificate)
        leaf.private_key_pem.write_to_path(key)
        return certificate, key


def listen(broker: Broker, certificates: Certificates) -> None:
    """Have a broker take TLS connections, and log in by certificate whoever shows one."""
    files = {"ca": certificates.authority, "server": certificates.server, "key": certificates.server_key}
    target = f"{broker.folder}/tls"
    writing = [f'ok = file:write_file("{target}-{name}", "{path.read_text()}")' for name, path in files.items()]
    options = ", ".join(
        f'{{{option}, "{target}-{name}"}}'
        for option, name in (("cacertfile", "ca"), ("certfile", "server"), ("keyfile", "key"))
    )
    broker.rabbitmqctl(
        "eval",
        ", ".join(
            (
                *writing,
                f"Options = [{options}, {{verify, verify_peer}}, {{fail_if_no_peer_cert, false}}]",
                'Plugin = code:lib_dir(rabbit) ++ "/../rabbitmq_auth_mechanism_ssl-*/ebin"',
                "code:add_pathz(hd(filelib:wildcard(Plugin)))",
                "application:load(rabbitmq_auth_mechanism_ssl)",
                'rabbit_registry:register(auth_mechanism, <<"EXTERNAL">>, rabbit_auth_mechanism_ssl)',
                "application:set_env(rabbit, auth_mechanisms, ['PLAIN', 'AMQPLAIN', 'EXTERNAL'])",
                "application:set_env(rabbit, ssl_cert_login_from, common_name)",
                "application:set_env(rabbit, ssl_options, Options)",
                f'ok = rabbit_networking:start_ssl_listener({{"0.0.0.0", {broker.tls_port}}}, Options, 2).',
            )
        ),
    )


@contextmanager
def handshakes(certificate: Path, key: Path, *, asks_for: Path | None = None) -> Iterator[int]:
    """A port where somebody shakes hands and says nothing more; `asks_for`: whose certificates it wants to see."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=asks_for)
    context.load_cert_chain(certificate, key)
    context.verify_mode = ssl.CERT_REQUIRED if asks_for else ssl.CERT_NONE
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as threads:
        threads.submit(_shake_hands, server, context)
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)


def _shake_hands(server: socket.socket, context: ssl.SSLContext) -> None:
    with suppress(OSError):  # the server is closed
        while True:
            plain, _ = server.accept()
            with plain, suppress(OSError), context.wrap_socket(plain, server_side=True) as connection:
                while connection.recv(4096):
                    pass
