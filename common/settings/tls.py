"""The settings of an encrypted connection: whether there is one, which authority to trust, and who we are."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, model_validator

from common.settings.fields import choice, text
from common.settings.servers import ServerSettings


def _file(path: str) -> str:
    if path and not Path(path).is_file():
        raise ValueError("no such file")
    return path


File = Annotated[str, AfterValidator(_file)]


class TlsSettings(ServerSettings):
    """How to reach a server with TLS.

    RabbitMQ's files are read again for each connection, a store's for each pool or driver.
    """

    tls: bool = choice(False, ("true", "false"))
    tls_ca_file: File = text("", "the path of a file that holds the certificates of authorities to trust (PEM)")
    """Empty: those that this machine trusts."""
    tls_cert_file: File = text("", "the path of a file that holds the certificate to show (PEM)")
    tls_key_file: File = text("", "the path of a file that holds the key of that certificate, without a password (PEM)")
    """Empty: it stands in the certificate's file."""
    tls_verify: bool = choice(True, ("true", "false"))
    """False accepts whatever certificate the server shows: for tests only."""

    @property
    def has_tls(self) -> bool:
        """Whether TLS is asked for, here or by an address."""
        return self.tls

    @model_validator(mode="after")
    def _check_tls(self) -> Self:
        needless = [name for name in ("tls_ca_file", "tls_cert_file", "tls_key_file") if getattr(self, name)]
        if needless and not self.has_tls:
            file, tls = self.variable(needless[0]), self.variable("tls")
            raise ValueError(f"{file} is set without TLS; allowed is {tls}=true.")
        if self.tls_key_file and not self.tls_cert_file:
            key, certificate = self.variable("tls_key_file"), self.variable("tls_cert_file")
            raise ValueError(f"{key} is set without a certificate; allowed is {certificate} beside it.")
        return self
