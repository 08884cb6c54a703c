"""A window of the past, from Prometheus: the same looks as the services themselves would have given."""

import http.client
import json
import re
import ssl
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from common.errors import StartRefused
from common.kinds import Service
from common.network.failures import in_words
from common.network.reaching import dial
from common.ops.scraping import Sample, Samples
from common.telemetry.logs import redact
from spindle.advice.meters import NAMES, Look, Pressure
from spindle.advice.window import Window
from spindle.settings import OperatorSettings
from spindle.status.broker import BrokerState, QueueState, our_queues
from spindle.status.replicas import Replica
from spindle.status.snapshot import paint

TIMEOUT = 30.0
"""Seconds for each step of an answer: a day's window is some megabytes."""

POINTS = 240
LEAST_STEP = 10.0
"""Seconds: twice as long as from one scrape to the next in monitoring/prometheus.yml, or a step might have none."""

_OURS = "|".join(sorted(name for name in NAMES if name.startswith("spindle")))
_PROCESSES = "|".join(sorted(name for name in NAMES if name.startswith("process")))

_PAIR = r'[a-zA-Z_][a-zA-Z0-9_]*=~?"[^"\\{}\n]*"'
_PAIRS: Final = re.compile(rf"{_PAIR}(?:, ?{_PAIR})*")


def is_match(text: str) -> bool:
    """Whether it is label="value" or label=~"pattern", or several of those separated by commas: what narrows a
    selector and can be nothing else.
    """
    return _PAIRS.fullmatch(text) is not None


Times = Mapping[float, float]
"""A series' values by their times."""


@dataclass(frozen=True, slots=True)
class Prometheus:
    """A server's API."""

    url: str
    match: str = ""
    """Of which series, as `is_match` says; empty: of all."""

    @classmethod
    def at(cls, url: str, match: str = "") -> "Prometheus":
        """The one at this URL.

        Raises: StartRefused if it is none.
        """
        if not _is_plain(url):
            raise StartRefused(
                f"--prometheus {re.split('[?#]', redact(url))[0]!r} is not http://host:port or https://host:port: "
                "with a path at the most, and no user, query or fragment."
            )
        return cls(url.rstrip("/"), match)

    def look_back(self, settings: OperatorSettings, begin: datetime, end: datetime) -> Window:
        """The looks of a window; what Prometheus has no series of is missing in them.

        Raises: StartRefused if it can't be asked, or has nothing of that time.
        """
        seconds = (end - begin).total_seconds()
        asking = _Asking(self.url, begin.timestamp(), end.timestamp(), max(LEAST_STEP, seconds / POINTS))
        of = f"{{{self.match}}}"
        processes = _processes(asking, self.match)
        ready = asking.series(f"max by (queue) (rabbitmq_detailed_queue_messages_ready{of})")
        queues = {each["queue"]: times for each, times in ready}
        memory = asking.one(
            f"max(rabbitmq_process_resident_memory_bytes{of} / rabbitmq_resident_memory_limit_bytes{of})"
        )
        alarms = {
            "memory": asking.one(f"max(rabbitmq_alarms_memory_used_watermark{of})"),
            "disk": asking.one(f"max(rabbitmq_alarms_free_disk_space_watermark{of})"),
        }
        looks = []
        for at in asking.times():
            broker = BrokerState(
                self.url,
                ("prometheus",),
                queues={
                    name: QueueState(None if (count := queues[name].get(at)) is None else round(count))
                    for name in our_queues(settings.names, settings.kinds)
                    if name in queues
                },
                alarms=tuple(word for word, times in alarms.items() if times.get(at)),
            )
            replicas = [replica for each in processes if (replica := each.at(at)) is not None]
            services = [service for service, places in settings.places.items() if places]
            picture = paint(
                replicas, broker, services=services, kinds=settings.kinds, names=settings.names, latencies={}
            )
            known = [times[at] for times in alarms.values() if at in times]
            looks.append(Look(at, picture, pressure=Pressure(memory.get(at), blocked=any(known) if known else None)))
        looks = _while_any_answered(looks)
        if len(looks) < 2:
            raise StartRefused(f"{self.url} has no metrics of the services from {_said(begin)} to {_said(end)}.")
        source = f"Prometheus at {self.url}" + (f" ({self.match})" if self.match else "")
        return Window(looks, datetime.fromtimestamp(looks[0].at, UTC), source)


def _is_plain(url: str) -> bool:
    """Whether a URL is one of HTTP, and has nothing that must not get into a report."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and not set(url) & set("@?#")


def _while_any_answered(looks: Sequence[Look]) -> list[Look]:
    """Without what lies before the first and after the last answer of any service."""
    answered = [index for index, look in enumerate(looks) if any(each.replicas for each in look.picture.services)]
    return list(looks[answered[0] : answered[-1] + 1]) if answered else []


@dataclass(frozen=True, slots=True)
class _Process:
    service: Service
    instance: str
    series: Sequence[tuple[Mapping[str, str], Times]]

    def at(self, time: float) -> Replica | None:
        """What it said at this time; None if nothing."""
        samples = [Sample(labels["__name__"], labels, times[time]) for labels, times in self.series if time in times]
        return Replica(self.service, self.instance, Samples(samples)) if samples else None


def _processes(asking: "_Asking", match: str) -> list[_Process]:
    """Raises: StartRefused if those of a service belong to several stacks, whose numbers would be added up."""
    origins: dict[str, set[str]] = {}
    own: dict[str, list[tuple[Mapping[str, str], Times]]] = {}
    services: dict[str, Service] = {}
    for labels, times in asking.series(_selector(_OURS, match)):
        if labels.get("service") in list(Service):
            services[labels["instance"]] = Service(labels["service"])
            own.setdefault(labels["instance"], []).append((labels, times))
            origins.setdefault(labels["service"], set()).add(_origin(labels))
    for service, several in origins.items():
        if len(several) > 1:
            raise StartRefused(
                f"{asking.url} has {service}'s metrics of several stacks: {'; '.join(sorted(several))}. "
                "Choose one with --match."
            )
    for labels, times in asking.series(_selector(_PROCESSES, match)):
        if labels.get("instance") in own:
            own[labels["instance"]].append((labels, times))
    return [_Process(services[instance], instance, series) for instance, series in sorted(own.items())]


def _selector(names: str, match: str) -> str:
    return f'{{__name__=~"{names}"{"," if match else ""}{match}}}'


def _origin(labels: Mapping[str, str]) -> str:
    """Which stack a series belongs to, as far as Prometheus tells: in one stack, each service is one job."""
    return ", ".join(f'{name}="{labels[name]}"' for name in ("job", "namespace") if name in labels)


@dataclass(frozen=True, slots=True)
class _Asking:
    url: str
    begin: float
    end: float
    step: float

    def times(self) -> Iterator[float]:
        """The times that every answer has values of, as far as there are some."""
        for index in range(int((self.end - self.begin) / self.step) + 1):
            yield self._key(self.begin + index * self.step)

    def one(self, query: str) -> Times:
        """The values of a query that gives one series; none if it gives none."""
        return next((times for _, times in self.series(query)), {})

    def series(self, query: str) -> Iterator[tuple[Mapping[str, str], Times]]:
        """Labels and values of each series. Raises: StartRefused."""
        asked = {"query": query, "start": f"{self.begin:.3f}", "end": f"{self.end:.3f}", "step": f"{self.step:.3f}"}
        for each in self._ask(urlencode(asked))["result"]:
            yield each["metric"], {self._key(float(at)): float(value) for at, value in each["values"]}

    def _key(self, at: float) -> float:
        """A time as both sides count it: milliseconds get lost on the way."""
        return self.begin + round((at - self.begin) / self.step) * self.step

    def _ask(self, body: str) -> Any:
        parts = urlsplit(self.url)
        connection: http.client.HTTPConnection | None = None
        try:
            connection = _connect(self.url)
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            connection.request("POST", f"{parts.path}/api/v1/query_range", body, headers)
            answer = connection.getresponse()
            told = answer.read()
            said = json.loads(told)
            if said.get("status") != "success":
                raise StartRefused(f"{self.url} answers {answer.status}: {said.get('error', answer.reason)}")
            return said["data"]
        except (OSError, ValueError, KeyError, AttributeError, http.client.HTTPException) as error:
            why = in_words(error) if isinstance(error, OSError) else "no answer of Prometheus's API"
            raise StartRefused(f"{self.url} can't be asked: {why or error or type(error).__name__}") from error
        finally:
            if connection is not None:
                connection.close()


def _connect(url: str) -> http.client.HTTPConnection:
    """Open a connection, within a limit also for the name."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme == "http":
        connection = http.client.HTTPConnection(host, parts.port, timeout=TIMEOUT)
        connection.sock = dial(host, connection.port, timeout=TIMEOUT)
        return connection
    connection = http.client.HTTPSConnection(host, parts.port, timeout=TIMEOUT)
    plain = dial(host, connection.port, timeout=TIMEOUT)
    try:
        connection.sock = ssl.create_default_context().wrap_socket(plain, server_hostname=host)
    except BaseException:
        plain.close()
        raise
    return connection


def _said(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
