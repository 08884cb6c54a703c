"""The names of everything on the broker, from one place.

The runtime knows kinds as names and nothing else; the operator's tool and the extractor use the same ones.
Source: the wire format, whose names an extractor already in the field uses.
"""

from dataclasses import dataclass
from enum import StrEnum

KINDS = ("artists", "labels", "masters", "releases")
DEFAULT_PREFIX = "discogsography-discogs"


class Service(StrEnum):
    """The consumers: each has a queue of its own per kind."""

    GRAPHINATOR = "graphinator"
    TABLEINATOR = "tableinator"


@dataclass(frozen=True, slots=True)
class Names:
    """Exchange and queue names below one prefix."""

    prefix: str = DEFAULT_PREFIX

    def exchange(self, kind: str) -> str:
        """Name the fanout exchange that a kind's records are published to."""
        return f"{self.prefix}-{kind}"

    def queue(self, service: Service, kind: str) -> str:
        """Name the queue from which a service takes a kind."""
        return f"{self.prefix}-{service}-{kind}"

    def dead_letter_exchange(self, service: Service, kind: str) -> str:
        """Name the exchange that a queue's dead letters go to."""
        return f"{self.queue(service, kind)}.dlx"

    def dead_letter_queue(self, service: Service, kind: str) -> str:
        """Name the queue that keeps a queue's dead letters."""
        return f"{self.queue(service, kind)}.dlq"
