"""Read a process's metrics and readiness from outside, as a monitoring system does."""

import http.client
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Self

from prometheus_client.parser import text_string_to_metric_families

from common.errors import SpindleError


class Unreachable(SpindleError):
    """A process can't be asked; the text says where and why."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One line of an answer."""

    name: str
    labels: Mapping[str, str]
    value: float


class Samples:
    """What one process, or several together, said of itself at one moment."""

    def __init__(self, samples: Iterable[Sample] = ()) -> None:
        self._by_name: dict[str, list[Sample]] = {}
        for sample in samples:
            self._by_name.setdefault(sample.name, []).append(sample)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read Prometheus's text format.

        Raises: ValueError.
        """
        families = text_string_to_metric_families(text)
        return cls(Sample(each.name, each.labels, each.value) for family in families for each in family.samples)

    def of(self, name: str, **labels: str) -> Iterator[Sample]:
        """The samples of this name that have these labels; of a counter the name ends in `_total`."""
        for sample in self._by_name.get(name, ()):
            if all(sample.labels.get(label) == value for label, value in labels.items()):
                yield sample

    def keep(self, names: Collection[str]) -> None:
        """Forget every sample with another name; what is kept shares its labels with all that have the same."""
        self._by_name = {
            name: [Sample(sys.intern(name), _shared(sample.labels), sample.value) for sample in samples]
            for name, samples in self._by_name.items()
            if name in names
        }

    def sum(self, name: str, **labels: str) -> float:
        """The sum of those samples; 0 if there are none."""
        return sum(sample.value for sample in self.of(name, **labels))

    def largest(self, name: str, **labels: str) -> float:
        """The largest of those samples; 0 if there are none."""
        return max((sample.value for sample in self.of(name, **labels)), default=0.0)

    def buckets(self, name: str, **labels: str) -> dict[float, float]:
        """A histogram's cumulative counts by upper bound, over all series that have these labels."""
        counts: dict[float, float] = {}
        for sample in self.of(f"{name}_bucket", **labels):
            bound = float(sample.labels["le"])
            counts[bound] = counts.get(bound, 0.0) + sample.value
        return counts


@lru_cache(maxsize=20_000)
def _mapping(labels: tuple[tuple[str, str], ...]) -> Mapping[str, str]:
    return dict(labels)


def _shared(labels: Mapping[str, str]) -> Mapping[str, str]:
    return _mapping(tuple(labels.items()))


def scrape(host: str, port: int, *, timeout: float) -> Samples:
    """Ask a process for its metrics; blocks for `timeout` seconds a step at the most.

    Raises: Unreachable.
    """
    status, body = ask(host, port, "/metrics", timeout=timeout)
    if status != http.client.OK:
        raise Unreachable(f"{host}:{port} answers /metrics with {status}")
    try:
        return Samples.parse(body.decode())
    except ValueError as error:
        raise Unreachable(f"{host}:{port} answers /metrics with something else than metrics") from error


def ask(host: str, port: int, path: str, *, timeout: float) -> tuple[int, bytes]:
    """Ask a process over HTTP, past any proxy. Returns: status and body.

    Raises: Unreachable.
    """
    connection = http.client.HTTPConnection(host, port, timeout=timeout)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise Unreachable(f"{host}:{port} does not answer: {error or type(error).__name__}") from error
    finally:
        connection.close()
