"""RabbitMQ as a private node: its own name server, cookie, folders and ports, all of it on the loopback only."""

import base64
import shutil
import signal
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from devstack.stack.files import write_private
from devstack.stack.launching import Command
from devstack.stack.ports import LOOPBACK, answer
from devstack.stack.recipe import Place

USER = "spindle"
PROGRAM = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
_PROTOCOL_HEADER = b"AMQP\x00\x00\x09\x01"
_METHOD_FRAME = b"\x01"  # Connection.Start; a server that is not up yet closes instead

_CONFIGURATION = """\
listeners.tcp.1 = {loopback}:{amqp}
management.tcp.ip = {loopback}
management.tcp.port = {management}
prometheus.tcp.ip = {loopback}
prometheus.tcp.port = {prometheus}
default_user = {user}
default_pass = {password}
default_user_tags.administrator = true
log.console = true
log.console.level = info
log.console.use_colors = off
log.file = false
"""


class RabbitMQ:
    """The recipe."""

    name = "rabbitmq"
    ports = ("amqp", "management", "prometheus", "distribution", "epmd")
    supervised = False
    patience = 60.0
    stop_signal = signal.SIGTERM

    def prepare(self, place: Place) -> None:
        """Write the configuration; the node makes its data itself, with our user and no guest."""
        if not place.mark_of_use.exists():  # a first start that was cut short may lack the user forever
            shutil.rmtree(place.folder / "data", ignore_errors=True)
        configuration = _CONFIGURATION.format(
            loopback=LOOPBACK, user=USER, password=place.password, **dict(place.ports)
        )
        write_private(place.folder / "rabbitmq.conf", configuration)
        write_private(place.folder / "enabled_plugins", "[rabbitmq_management,rabbitmq_prometheus].\n")
        write_private(place.folder / "rabbitmq-env.conf", "")  # instead of the machine's own below /etc

    def commands(self, place: Place) -> Sequence[Command]:
        """Return the name server and the node. A name server that the node starts itself would outlive it."""
        environment = self._environment(place)
        epmd = Command(
            name="epmd",
            argv=["epmd", "-address", LOOPBACK, "-port", str(place.ports["epmd"])],
            folder=place.folder,
            log=place.log("epmd"),
            environment=environment,
            port=place.ports["epmd"],
        )
        node = Command(
            name="rabbitmq",
            argv=[str(PROGRAM)],
            folder=place.folder,
            log=place.log("rabbitmq"),
            environment=environment,
        )
        return [epmd, node]

    def is_ready(self, place: Place) -> bool:
        """Tell whether a client is greeted and the management API finds every vhost running."""
        greeted = answer(place.ports["amqp"], _PROTOCOL_HEADER, 1) == _METHOD_FRAME
        return greeted and self._vhosts_run(place)

    def _vhosts_run(self, place: Place) -> bool:
        url = f"{management_url(place)}/api/health/checks/virtual-hosts"
        login = base64.b64encode(f"{USER}:{place.password}".encode()).decode()
        request = urllib.request.Request(url, headers={"Authorization": f"Basic {login}"})  # noqa: S310  (http, ours)
        try:
            with urllib.request.urlopen(request, timeout=2.0) as response:  # noqa: S310
                return bool(response.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def _environment(self, place: Place) -> dict[str, str]:
        folder, ports = place.folder, place.ports
        return {
            "HOME": str(folder),  # holds the cookie
            "ERL_EPMD_PORT": str(ports["epmd"]),
            "ERL_EPMD_ADDRESS": LOOPBACK,
            "RABBITMQ_NODENAME": "rabbit@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": LOOPBACK,
            "RABBITMQ_NODE_PORT": str(ports["amqp"]),
            "RABBITMQ_DIST_PORT": str(ports["distribution"]),
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(place.logs),
            "RABBITMQ_CONF_ENV_FILE": str(folder / "rabbitmq-env.conf"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_CONFIG_FILES": str(folder / "none"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "none.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
            "RABBITMQ_PID_FILE": str(folder / "pid"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-start_epmd false -kernel inet_dist_use_interface {127,0,0,1}",
            # Makes the start script become the node instead of watching over it, so that our process id is the node's.
            "RUNNING_UNDER_SYSTEMD": "true",
        }


def amqp_url(place: Place, vhost: str = "%2F") -> str:
    """Return the address for clients, password included."""
    return f"amqp://{USER}:{place.password}@{LOOPBACK}:{place.ports['amqp']}/{vhost}"


def management_url(place: Place) -> str:
    """Return the address of the management API, without a login."""
    return f"http://{LOOPBACK}:{place.ports['management']}"
