"""TLS on real brokers: messages over it, logging in by certificate, and every failure as one sentence."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest
import uvloop
from structlog.testing import capture_logs

from common.errors import StartRefused
from common.kinds import Names, Service
from common.rabbitmq.access import BrokerAccess
from common.rabbitmq.consuming.fast.reader import FastReader
from common.rabbitmq.consuming.reading import AiormqReader, DeliveryReader
from common.rabbitmq.consuming.source import RabbitSource
from common.telemetry.metrics import KindMetrics
from tests.contract.source import PATIENCE, bodies, messages, running, take, until
from tests.servers.amqp import new_names, peer_of, settings
from tests.servers.brokers import Broker
from tests.servers.servers import RabbitMQ
from tests.servers.tls import CLIENT, Certificates, handshakes, listen

KIND, SERVICE = "masters", Service.TABLEINATOR

Settings = dict[str, Any]


@dataclass(frozen=True)
class Tls:
    """A broker with a listener for TLS, and the certificates around it."""

    broker: Broker
    certificates: Certificates

    def url(self, place: str = "", scheme: str = "amqps") -> str:
        """The broker's URL for TLS, with the login of `broker.url`."""
        parts = urlsplit(self.broker.url)
        login = parts.netloc.rpartition("@")[0]
        return urlunsplit(parts._replace(scheme=scheme, netloc=f"{login}@{place or self.broker.tls_place}"))

    @property
    def trusting(self) -> Settings:
        """What trusts the broker."""
        return {"tls_ca_file": str(self.certificates.authority)}

    def showing(self, certificate: Path, key: Path) -> Settings:
        """What trusts the broker and logs in with a certificate."""
        return {**self.trusting, "auth": "external", "tls_cert_file": str(certificate), "tls_key_file": str(key)}


@pytest.fixture(scope="session")
def tls(each_rabbitmq: RabbitMQ, tmp_path_factory: pytest.TempPathFactory) -> Tls:
    """Each broker, listening."""
    if not isinstance(each_rabbitmq, Broker):
        pytest.skip("a broker that the environment names is not to be reconfigured")
    certificates = Certificates(tmp_path_factory.mktemp("tls"), each_rabbitmq.tls_place.rpartition(":")[0])
    listen(each_rabbitmq, certificates)
    vhost, everything = urlsplit(each_rabbitmq.url).path.strip("/"), {"configure": ".*", "write": ".*", "read": ".*"}
    each_rabbitmq.api("PUT", f"users/{CLIENT}", {"password_hash": "", "tags": ""})
    each_rabbitmq.api("PUT", f"permissions/{vhost}/{CLIENT}", everything)
    return Tls(each_rabbitmq, certificates)


@pytest.fixture(params=[FastReader, AiormqReader], ids=["fast", "aio-pika"])
def reader(request: pytest.FixtureRequest) -> type[DeliveryReader]:
    chosen: type[DeliveryReader] = request.param
    return chosen


def make(reader: type[DeliveryReader], url: str, names: Names | None = None, **more: Any) -> RabbitSource:
    return RabbitSource(
        BrokerAccess(settings(url, **more)),
        names or new_names(),
        SERVICE,
        KIND,
        prefetch=500,
        max_bytes=2**24,
        consumer_timeout=1800.0,
        metrics=KindMetrics(SERVICE, KIND),
        reader=reader,
    )


# What works.


async def test_messages_of_any_size_come_over_tls(tls: Tls, reader: type[DeliveryReader]) -> None:
    names, large = new_names(), bytes(range(256)) * 2000
    async with (
        running(make(reader, tls.url(), names, **tls.trusting)) as source,
        peer_of(tls.broker.url) as peer,
    ):
        await peer.publish(names.exchange(KIND), *messages(200), large)
        received: list[bytes] = []
        while len(received) < 201:
            burst = await take(source, 1)
            received += bodies(burst)
            source.settle(burst)

    assert received == [*messages(200), large]


async def test_a_certificate_is_login_enough(tls: Tls, reader: type[DeliveryReader]) -> None:
    showing = tls.showing(tls.certificates.client, tls.certificates.client_key)
    names, url = new_names(), tls.url().replace(urlsplit(tls.url()).netloc, tls.broker.tls_place)

    async with running(make(reader, url, names, **showing)) as source, peer_of(tls.broker.url) as peer:
        await peer.publish(names.exchange(KIND), *messages(3))

        assert bodies(await take(source, 3)) == messages(3)


async def test_whoever_says_so_trusts_anybody(tls: Tls, reader: type[DeliveryReader]) -> None:
    async with running(make(reader, tls.url(), tls_verify=False)):
        pass


async def test_certificates_in_the_url_are_used_too(tls: Tls, reader: type[DeliveryReader]) -> None:
    url = urlunsplit(urlsplit(tls.url())._replace(query=f"cafile={tls.certificates.authority}"))

    async with running(make(reader, url)):
        pass


async def test_a_new_certificate_is_used_from_the_next_connection_on(tls: Tls, tmp_path: Path) -> None:
    authority = tmp_path / "ca.pem"
    authority.write_bytes(tls.certificates.authority.read_bytes())
    names = new_names()
    async with running(make(FastReader, tls.url(), names, tls_ca_file=str(authority))) as source:
        authority.write_bytes(tls.certificates.other_authority.read_bytes())
        with capture_logs() as lines:
            await source.hand_back()
            await source.resume()
            await until(lambda: any(line["event"] == "Broker can't be used" for line in lines))
        authority.write_bytes(tls.certificates.authority.read_bytes())

        await until(lambda: source.connected)

    assert "RABBITMQ_TLS_CA_FILE" in str(lines)


# What does not: one sentence, that names what to look at, and nothing else on any loop.


@pytest.fixture(
    params=[
        (FastReader, uvloop.new_event_loop),
        (FastReader, asyncio.new_event_loop),
        (AiormqReader, uvloop.new_event_loop),
    ],
    ids=["fast-uvloop", "fast-asyncio", "aio-pika-uvloop"],
)
def refusal(
    request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., str]]:
    """Have a source start, and give the sentence with which it refuses."""
    reader, loop_factory = request.param

    def refuse(url: str, **more: Any) -> str:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            return runner.run(_refusal(reader, url, **more))

    yield refuse
    assert "Traceback" not in capfd.readouterr().err
    assert [record for record in caplog.records if record.levelno >= logging.WARNING and record.name != "aiormq"] == []


async def _refusal(reader: type[DeliveryReader], url: str, **more: Any) -> str:
    with pytest.raises(ExceptionGroup) as refused:
        async with asyncio.timeout(PATIENCE):
            await make(reader, url, **more).run()
    (error,) = refused.value.exceptions
    assert isinstance(error, StartRefused)
    sentence = str(error)
    assert sentence.endswith(".")
    assert "\n" not in sentence
    return sentence


Refuse = Callable[..., str]


def test_another_authority_is_not_trusted(tls: Tls, refusal: Refuse) -> None:
    sentence = refusal(tls.url(), tls_ca_file=str(tls.certificates.other_authority))

    assert "not trusted" in sentence
    assert "RABBITMQ_TLS_CA_FILE" in sentence


def test_the_machines_authorities_are_not_enough_for_ones_own(tls: Tls, refusal: Refuse) -> None:
    assert "RABBITMQ_TLS_CA_FILE" in refusal(tls.url())


def test_a_certificate_is_for_one_host(refusal: Refuse, certificates: Certificates) -> None:
    with handshakes(certificates.other_host, certificates.other_host_key) as port:
        sentence = refusal(f"amqps://127.0.0.1:{port}", tls_ca_file=str(certificates.authority))

    assert "of another host" in sentence
    assert "RABBITMQ_HOST" in sentence


def test_a_plain_listener_is_told_from_one_with_tls(tls: Tls, refusal: Refuse) -> None:
    sentence = refusal(tls.url(urlsplit(tls.broker.url).netloc.rpartition("@")[2]), **tls.trusting)

    assert "does not speak TLS" in sentence
    assert "RABBITMQ_PORT" in sentence


def test_a_listener_with_tls_is_told_from_a_plain_one(tls: Tls, refusal: Refuse) -> None:
    sentence = refusal(tls.url(scheme="amqp"))

    assert "expects TLS" in sentence
    assert "RABBITMQ_TLS" in sentence


def test_a_certificate_that_nobody_knows_is_no_login(tls: Tls, refusal: Refuse) -> None:
    showing = tls.showing(tls.certificates.stranger, tls.certificates.stranger_key)

    sentence = refusal(tls.url(), **showing)

    assert "refused the login" in sentence
    assert "RABBITMQ_TLS_CERT_FILE" in sentence


def test_a_login_that_is_not_offered_is_named(tls: Tls, refusal: Refuse) -> None:
    sentence = refusal(f"{tls.broker.url}?auth=external")

    assert "RABBITMQ_AUTH" in sentence
    assert "PLAIN" in sentence


def test_a_key_must_belong_to_its_certificate(tls: Tls, refusal: Refuse) -> None:
    showing = tls.showing(tls.certificates.client, tls.certificates.stranger_key)

    assert "RABBITMQ_TLS_KEY_FILE" in refusal(tls.url(), **showing)


def test_a_file_without_a_certificate_is_named(tls: Tls, refusal: Refuse, tmp_path: Path) -> None:
    nothing = tmp_path / "nothing.pem"
    nothing.write_text("nothing")

    assert str(nothing) in refusal(tls.url(), tls_ca_file=str(nothing))


def test_an_expired_certificate_is_told_from_a_strange_one(refusal: Refuse, certificates: Certificates) -> None:
    with handshakes(certificates.expired, certificates.expired_key) as port:
        sentence = refusal(f"amqps://127.0.0.1:{port}", tls_ca_file=str(certificates.authority))

    assert "certificate has expired" in sentence


def test_a_peer_that_asks_for_a_certificate_is_not_satisfied_without(
    refusal: Refuse, certificates: Certificates
) -> None:
    asking = handshakes(certificates.server, certificates.server_key, asks_for=certificates.authority)
    with asking as port:
        sentence = refusal(f"amqps://127.0.0.1:{port}", tls_ca_file=str(certificates.authority))

    assert "RABBITMQ_TLS_CERT_FILE" in sentence
