"""Ask RabbitMQ's management API, if there is one: what AMQP does not tell."""

import base64
import http.client
import json
import re
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from common.errors import SpindleError, StartRefused
from common.network.failures import in_words
from common.network.reaching import dial
from common.rabbitmq.policies import QueueLimits
from common.settings.certificates import Peer, described_context, what_is_wrong
from common.settings.tls import TlsSettings
from spindle.settings import OperatorSettings

TIMEOUT = 3.0
"""Seconds for each step of an answer; asked often, and there is another way to most of what it tells."""

LATE = 12.0
"""Seconds that its counts of a quorum queue may be behind."""

_PEER = Peer("RabbitMQ's management API", "RABBITMQ", "RABBITMQ_MANAGEMENT_URL", is_url_alone=True)
_COLUMNS = "name,messages_ready,messages_unacknowledged,arguments,effective_policy_definition,policy,operator_policy"
_PAGE = 500  # queues; the most that the API gives at a time


class NoManagement(SpindleError):
    """The management API can't be asked; the text says where and why.

    `is_meant`: none is named, or the login may not ask, as the least grants have it.
    """

    def __init__(self, text: str, *, is_meant: bool = False) -> None:
        super().__init__(text)
        self.is_meant = is_meant


_PUBLISHERS = ("extractor", "spindle load", "spindle check", "spindle reprocess")
"""How the names of our publishers' connections begin."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What it said, and its clock's time then: seconds since 1970, rounded down; None if it does not tell."""

    content: Any
    time: float | None


@dataclass(frozen=True, slots=True)
class Management:
    """One broker's API, for one user and virtual host."""

    url: str
    login: tuple[str, str]
    vhost: str
    tls: TlsSettings
    """Whom to trust, and what to show, where the URL is https."""

    @classmethod
    def of(cls, settings: OperatorSettings) -> "Management":
        """The one that the settings name."""
        return cls(settings.rabbitmq_management_url, settings.login, settings.vhost, settings.broker)

    def queues(self, prefix: str) -> dict[str, Mapping[str, Any]]:
        """The queues whose names begin so, by name. Their counts are up to five seconds old.

        Raises: NoManagement.
        """
        asked = {"page_size": _PAGE, "use_regex": "true", "name": f"^{prefix.replace('.', '[.]')}-"}
        columns = {"columns": _COLUMNS}
        found: dict[str, Mapping[str, Any]] = {}
        page, pages = 1, 1
        while page <= pages:
            query = urlencode({"page": page, **asked, **columns})
            said = self.ask(f"queues/{quote(self.vhost, safe='')}?{query}").content
            found |= {queue["name"]: queue for queue in said["items"]}
            page, pages = page + 1, said["page_count"]
        return found

    def limits(self, prefix: str) -> list[QueueLimits]:
        """What arguments and policies make of the queues whose names begin so.

        Raises: NoManagement.
        """
        return [limits_of(told) for _, told in sorted(self.queues(prefix).items())]

    def limits_to_be(self, names: Iterable[str]) -> list[QueueLimits]:
        """What policies will make of our queues that are not there yet: of several, the one with the highest priority.

        Raises: NoManagement.
        """
        vhost = quote(self.vhost, safe="")
        users, operators = (self.ask(f"{kind}/{vhost}").content for kind in ("policies", "operator-policies"))
        return [
            limits_of(
                {
                    "name": name,
                    "arguments": {} if name.endswith(".dlq") else {"x-dead-letter-exchange": f"{name}.dlx"},
                    "effective_policy_definition": (user.get("definition") or {}) | (operator.get("definition") or {}),
                    "policy": user.get("name"),
                    "operator_policy": operator.get("name"),
                }
            )
            for name in names
            for user, operator in [(_first(users, name), _first(operators, name))]
        ]

    def nodes(self) -> list[dict[str, Any]]:
        """The cluster's nodes with their alarms, memory and disks; needs a user with the tag `monitoring`.

        Raises: NoManagement.
        """
        nodes: list[dict[str, Any]] = self.ask(
            "nodes?columns=name,mem_alarm,mem_used,mem_limit,disk_free_alarm,disk_free,disk_free_limit"
        ).content
        return nodes

    def publisher_states(self) -> list[str]:
        """What each publisher of our virtual host does: `running`; `flow` while the broker slows it down, `blocked` in
        an alarm. Where none has a name of ours, that is each connection of the virtual host.

        Raises: NoManagement.
        """
        columns = "columns=state,client_properties.connection_name"
        connections = self.ask(f"vhosts/{quote(self.vhost, safe='')}/connections?{columns}").content
        ours = [each for each in connections if _name_of(each).startswith(_PUBLISHERS)]
        return [each.get("state", "") for each in ours or connections]

    def ask(self, path: str) -> Answer:
        """Get what lies behind `/api/`; blocks.

        Raises: NoManagement.
        """
        if not self.url:
            raise NoManagement("RABBITMQ_MANAGEMENT_URL names no management API", is_meant=True)
        parts = urlsplit(self.url)
        login = base64.b64encode(":".join(self.login).encode()).decode()
        connection: http.client.HTTPConnection | None = None
        try:
            connection = self._connection()
            connection.request("GET", f"{parts.path}/api/{path}", headers={"Authorization": f"Basic {login}"})
            answer = connection.getresponse()
            body, date = answer.read(), answer.getheader("Date")
            if answer.status != http.client.OK:
                raise NoManagement(
                    f"{self.url} answers {answer.status} {answer.reason}",
                    is_meant=answer.status in (http.client.UNAUTHORIZED, http.client.FORBIDDEN),
                )
            return Answer(json.loads(body), parsedate_to_datetime(date).timestamp() if date else None)
        except ssl.SSLError as error:
            wrong = what_is_wrong(error, _PEER) or f"does not answer: {error}"
            raise NoManagement(f"{self.url} {wrong}") from error
        except (OSError, ValueError, http.client.HTTPException) as error:
            why = in_words(error) or error or type(error).__name__
            raise NoManagement(f"{self.url} does not answer: {why}") from error
        finally:
            if connection is not None:
                connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        """Open one, because the library's own look-up of the name has no limit."""
        parts = urlsplit(self.url)
        host = parts.hostname or ""
        if parts.scheme != "https":
            connection = http.client.HTTPConnection(host, parts.port, timeout=TIMEOUT)
            connection.sock = dial(host, connection.port, timeout=TIMEOUT)
            return connection
        context = self._context()
        connection = http.client.HTTPSConnection(host, parts.port, timeout=TIMEOUT, context=context)
        plain = dial(host, connection.port, timeout=TIMEOUT)
        try:
            connection.sock = context.wrap_socket(plain, server_hostname=host)
        except BaseException:
            plain.close()
            raise
        return connection

    def _context(self) -> ssl.SSLContext:
        try:
            return described_context(self.tls, _PEER)
        except StartRefused as error:
            raise NoManagement(str(error)) from error


def _first(policies: Iterable[Mapping[str, Any]], queue: str) -> Mapping[str, Any]:
    """The policy that a quorum queue of this name gets; empty if none.

    The broker's patterns are PCRE. Of one that Python can't read it is not known whether it fits: NoManagement.
    """
    fitting = [
        policy
        for policy in policies
        if policy["apply-to"] in ("all", "queues", "quorum_queues") and _fits(policy, queue)
    ]
    return max(fitting, key=lambda policy: int(policy["priority"]), default={})


def _fits(policy: Mapping[str, Any], queue: str) -> bool:
    try:
        return re.search(policy["pattern"].replace(r"\z", r"\Z"), queue) is not None
    except re.error as error:
        raise NoManagement(
            f"policy {policy['name']!r} has a pattern that only RabbitMQ can read: whether it fits is known once our "
            "queues are there",
            is_meant=True,
        ) from error


def limits_of(told: Mapping[str, Any]) -> QueueLimits:
    """Read what the API tells of one queue; of a new one it tells little."""
    names = [told.get(kind) for kind in ("policy", "operator_policy")]
    return QueueLimits(
        told["name"],
        told.get("arguments") or {},
        told.get("effective_policy_definition") or {},
        " and ".join(f"policy {name!r}" for name in names if name),
    )


def _name_of(connection: Mapping[str, Any]) -> str:
    return str((connection.get("client_properties") or {}).get("connection_name", ""))
