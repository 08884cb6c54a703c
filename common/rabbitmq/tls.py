"""TLS: what a connection needs for it, and its failures as sentences that name what to look at.

The client library takes all of it from the URL, so that is where the settings go.
"""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aiormq.abc import SSLCerts
from aiormq.exceptions import AuthenticationError

from common.errors import StartRefused
from common.settings import BrokerSettings

_NO_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "UNKNOWN_PROTOCOL", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG")
_ALERT = b"\x15\x03"
"""How a peer that speaks TLS begins its answer to one that does not."""

_NOT_YET_VALID, _EXPIRED = 9, 10
_OTHER_NAME, _OTHER_ADDRESS = 62, 64


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

    Raises: StartRefused where a file is not what it should be.
    """
    with _reading("RABBITMQ_TLS_CA_FILE", files.cafile):
        context = ssl.create_default_context(cafile=files.cafile, capath=files.capath, cadata=files.cadata)
    if files.cert:
        with _reading("RABBITMQ_TLS_CERT_FILE", files.cert):
            _check(files.cert)
        with _reading("RABBITMQ_TLS_KEY_FILE", files.key or files.cert):
            # Without this a key with a password would have it asked for on the terminal.
            context.load_cert_chain(files.cert, files.key, password=lambda: "")
    if not files.verify:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def is_alert(data: bytes) -> bool:
    """Whether the first bytes of an answer come from a peer that speaks TLS."""
    return data.startswith(_ALERT)


def expects_tls(address: str) -> StartRefused:
    """The sentence for a peer that speaks TLS where we don't."""
    return StartRefused(
        f"RabbitMQ at {address} expects TLS on this port; check RABBITMQ_TLS and RABBITMQ_PORT, or RABBITMQ_URL."
    )


def explained(address: str, error: BaseException) -> StartRefused | None:
    """The sentence for an error about TLS or certificates, or for one that comes from such an error.

    None where waiting may help, or where it is about something else.
    """
    seen: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in seen:  # the client library makes rings of them
        if what := _what(cause):
            return StartRefused(f"RabbitMQ at {address} {what}.")
        seen.append(cause)
        cause = cause.__cause__ or cause.__context__
    return None


def _what(error: BaseException) -> str:
    if isinstance(error, AuthenticationError):
        return (
            f"does not offer the login that RABBITMQ_AUTH names (it offers {error.args[0]}); external needs its plugin "
            "rabbitmq_auth_mechanism_ssl, and a certificate"
        )
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"shows a certificate {_flaw(error)}"
    reason = error.reason if isinstance(error, ssl.SSLError) else None
    if reason in _NO_TLS:
        return "does not speak TLS on this port; check RABBITMQ_TLS and RABBITMQ_PORT, or RABBITMQ_URL"
    if reason and "_ALERT_" in reason:
        told = reason.partition("_ALERT_")[2].replace("_", " ").lower()
        return f"refuses our part of TLS ({told}); check RABBITMQ_TLS_CERT_FILE and RABBITMQ_TLS_KEY_FILE"
    return ""


def _flaw(error: ssl.SSLCertVerificationError) -> str:
    why = error.verify_message.rstrip(".")
    if error.verify_code in (_OTHER_NAME, _OTHER_ADDRESS):
        return f"of another host ({why}); check RABBITMQ_HOST, or RABBITMQ_URL"
    if error.verify_code in (_EXPIRED, _NOT_YET_VALID):
        return f"whose time is not now ({why}); the broker needs another one, or this machine's clock is wrong"
    return f"that is not trusted ({why}); check RABBITMQ_TLS_CA_FILE"


@contextmanager
def _reading(variable: str, path: str | None) -> Iterator[None]:
    try:
        yield
    except ssl.SSLError as error:
        why = (error.reason or "not readable").replace("_", " ").lower()
        raise StartRefused(f"{variable} is {path!r} ({why}); allowed is what .env.example says of it.") from error
    except OSError as error:
        raise StartRefused(f"{variable} is {path!r} ({error.strerror}); allowed is a file that can be read.") from error


def _check(path: str) -> None:
    with Path(path).open("rb"):
        pass
