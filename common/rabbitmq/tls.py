"""TLS to RabbitMQ.

The client library takes all of it from the URL, so that is where the settings go.
"""

import ssl

from aiormq.abc import SSLCerts
from aiormq.exceptions import AuthenticationError

from common.errors import StartRefused
from common.settings.certificates import Peer, causes, make_context, what_is_wrong
from common.settings.programs import BrokerSettings

_PEER = Peer("RabbitMQ", "RABBITMQ", "RABBITMQ_URL")
_ALERT = b"\x15\x03"
"""How a peer that speaks TLS begins its answer to one that does not."""


def options_of(broker: BrokerSettings) -> dict[str, str]:
    """What of the settings goes into the URL's query; what is not set there may be in the URL already."""
    options = {"cafile": broker.tls_ca_file, "certfile": broker.tls_cert_file, "keyfile": broker.tls_key_file}
    if not broker.tls_verify:
        options["no_verify_ssl"] = "1"
    if broker.auth != "plain":
        options["auth"] = broker.auth
    return {name: value for name, value in options.items() if value}


def context_of(files: SSLCerts) -> ssl.SSLContext:
    """Read the certificates. Blocks.

    Raises: StartRefused if a file is not what it should be.
    """
    authorities = {"cafile": files.cafile, "capath": files.capath, "cadata": files.cadata}
    return make_context(_PEER, authorities=authorities, certificate=files.cert, key=files.key, verify=files.verify)


def is_alert(data: bytes) -> bool:
    """Whether the first bytes of an answer come from a peer that speaks TLS."""
    return data.startswith(_ALERT)


def expects_tls(address: str) -> StartRefused:
    """The sentence for a peer that speaks TLS although we don't."""
    return StartRefused(
        f"RabbitMQ at {address} expects TLS on this port; check RABBITMQ_TLS and RABBITMQ_PORT, or RABBITMQ_URL."
    )


def explained(error: BaseException, address: str) -> StartRefused | None:
    """The sentence for an error about TLS, certificates or the way to log in.

    None if waiting may help, or if it is about something else.
    """
    for cause in causes(error):
        if isinstance(cause, AuthenticationError):
            return StartRefused(
                f"RabbitMQ at {address} does not offer the login that RABBITMQ_AUTH names (it offers {cause.args[0]}); "
                "external needs its plugin rabbitmq_auth_mechanism_ssl, and a certificate."
            )
    what = what_is_wrong(error, _PEER)
    return StartRefused(f"RabbitMQ at {address} {what}.") if what else None
