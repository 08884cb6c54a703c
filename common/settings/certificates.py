"""TLS: the context of a connection, and its failures as sentences that name what to look at."""

import ssl
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from common.errors import StartRefused
from common.settings.tls import TlsSettings

_NO_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "UNKNOWN_PROTOCOL", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG")
_NOT_YET_VALID, _EXPIRED = 9, 10
_OTHER_NAME, _OTHER_ADDRESS = 62, 64


@dataclass(frozen=True, slots=True)
class Peer:
    """A server as sentences call it, the prefix of its variables, and which of them lead there."""

    name: str
    prefix: str
    url: str
    is_url_alone: bool = False
    """Whether only the URL leads there, and host, port and whether there is TLS stand in it."""

    def variable(self, name: str) -> str:
        """One of its variables."""
        return f"{self.prefix}_{name}"

    def place(self, *names: str) -> str:
        """Those of its variables that may be wrong about where it is."""
        variables = " and ".join(self.variable(name) for name in names)
        return self.url if self.is_url_alone else f"{variables}, or {self.url}"


def settings_context(settings: TlsSettings, peer: Peer) -> ssl.SSLContext | None:
    """The context that settings describe; None if they ask for no TLS. Blocks.

    Raises: StartRefused if a file is not what it should be.
    """
    return described_context(settings, peer) if settings.tls else None


def described_context(settings: TlsSettings, peer: Peer) -> ssl.SSLContext:
    """The same if an address says whether there is TLS, and not the settings. Blocks.

    Raises: StartRefused if a file is not what it should be.
    """
    return make_context(
        peer,
        authorities={"cafile": settings.tls_ca_file or None},
        certificate=settings.tls_cert_file,
        key=settings.tls_key_file,
        verify=settings.tls_verify,
    )


def make_context(
    peer: Peer, *, authorities: Mapping[str, str | bytes | None], certificate: str | None, key: str | None, verify: bool
) -> ssl.SSLContext:
    """Read the certificates; `authorities` as `ssl.create_default_context` takes them. Blocks.

    Raises: StartRefused if a file is not what it should be.
    """
    # Not ssl.create_default_context: that writes every session's keys to the file that SSLKEYLOGFILE names.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if sys.version_info >= (3, 13):  # in all else the two are the same
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | ssl.VERIFY_X509_STRICT
    with _reading(peer.variable("TLS_CA_FILE"), authorities["cafile"]):
        if any(authorities.values()):
            context.load_verify_locations(**authorities)
        else:
            context.load_default_certs()
    if certificate:
        with _reading(peer.variable("TLS_CERT_FILE"), certificate):
            _check(certificate)
        with _reading(peer.variable("TLS_KEY_FILE"), key or certificate):
            # Without this a key with a password would have it asked for on the terminal.
            context.load_cert_chain(certificate, key or None, password=lambda: "")
    if not verify:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def causes(error: BaseException) -> Iterator[BaseException]:
    """An error and what it comes from, each member of a group too."""
    seen: list[BaseException] = []
    left = [error]
    while left:
        cause = left.pop(0)
        if any(cause is each for each in seen):  # client libraries make rings of them
            continue
        yield cause
        seen.append(cause)
        members = cause.exceptions if isinstance(cause, BaseExceptionGroup) else ()
        left += [each for each in (cause.__cause__ or cause.__context__, *members) if each is not None]


def what_is_wrong(error: BaseException, peer: Peer) -> str:
    """What an error about TLS or certificates, or one that comes from such an error, says of a peer.

    Empty if waiting may help, or if it is about something else.
    """
    return next((what for cause in causes(error) if (what := _said(cause, peer))), "")


def speaks_no_tls(peer: Peer) -> str:
    """What is to be said of a peer that does not answer in TLS."""
    return f"does not speak TLS on this port; check {peer.place('TLS', 'PORT')}"


def _said(error: BaseException, peer: Peer) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"shows a certificate {_flaw(error, peer)}"
    reason = getattr(error, "reason", None) if isinstance(error, ssl.SSLError) else None
    if reason in _NO_TLS:
        return speaks_no_tls(peer)
    if reason and "_ALERT_" in reason:
        told = reason.partition("_ALERT_")[2].replace("_", " ").lower()
        files = f"{peer.variable('TLS_CERT_FILE')} and {peer.variable('TLS_KEY_FILE')}"
        return f"refuses our part of TLS ({told}); check {files}"
    return ""


def _flaw(error: ssl.SSLCertVerificationError, peer: Peer) -> str:
    why = error.verify_message.rstrip(".")
    if error.verify_code in (_OTHER_NAME, _OTHER_ADDRESS):
        return f"of another host ({why}); check {peer.place('HOST')}"
    if error.verify_code in (_EXPIRED, _NOT_YET_VALID):
        return f"whose time is not now ({why}); the server needs another one, or this machine's clock is wrong"
    return f"that is not trusted ({why}); check {peer.variable('TLS_CA_FILE')}"


@contextmanager
def _reading(variable: str, path: str | bytes | None) -> Iterator[None]:
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
