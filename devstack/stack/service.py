"""Our own services as members of the stack: a supervised process each, with the stack's addresses."""

import os
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence

from devstack.stack.launching import Command
from devstack.stack.ports import LOOPBACK
from devstack.stack.recipe import Place

_ADDRESSES = ("HOST", "PORT", "USERNAME", "PASSWORD", "VHOST", "DATABASE", "URL", "DSN", "URI", "AUTH")


class Service:
    """The recipe of graphinator or tableinator. `addresses` is asked at each start: ports may have changed."""

    ports = ("metrics",)
    supervised = True
    patience = 180.0
    stop_signal = signal.SIGTERM

    def __init__(self, name: str, addresses: Callable[[], Mapping[str, str]]) -> None:
        self.name = name
        self._addresses = addresses

    def prepare(self, place: Place) -> None:
        """Nothing: a service keeps no data."""

    def commands(self, place: Place) -> Sequence[Command]:
        """Return the supervisor, which starts the service and starts it again."""
        port = str(place.ports["metrics"])
        return [
            Command(
                name=self.name,
                argv=[sys.executable, "-m", "devstack.stack.supervise", "--", sys.executable, "-m", self.name],
                folder=place.folder,
                log=place.log(self.name),
                environment={
                    **settings_of_the_user(),
                    **self._addresses(),
                    "METRICS_HOST": LOOPBACK,
                    "METRICS_PORT": port,
                },
            )
        ]

    def is_ready(self, place: Place) -> bool:
        """Tell whether the service finds its broker and its store."""
        try:
            with urllib.request.urlopen(f"{metrics_url(place)}/health/ready", timeout=2.0) as response:  # noqa: S310
                return bool(response.status == 200)
        except (urllib.error.URLError, OSError):
            return False


def metrics_url(place: Place) -> str:
    """Return where the service shows metrics and health."""
    return f"http://{LOOPBACK}:{place.ports['metrics']}"


def settings_of_the_user() -> dict[str, str]:
    """Return the environment without what says where the servers are and how to log in: that is the stack's."""
    return {name: value for name, value in os.environ.items() if not _is_address(name)}


def _is_address(name: str) -> bool:
    server, _, rest = name.removesuffix("_FILE").partition("_")
    return server in ("RABBITMQ", "POSTGRES", "NEO4J") and (rest in _ADDRESSES or rest.startswith("TLS"))
