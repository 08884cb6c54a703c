"""What is published, and what is to become of it."""

import hashlib
import json
from collections.abc import Container, Iterable
from dataclasses import dataclass, field
from enum import StrEnum

import msgspec

from common.delivery import Delivery
from common.envelope import Envelope, Projection


class Fate(StrEnum):
    """What is to become of a message."""

    STORED = "stored"
    CONTROL = "control"
    UNREADABLE = "unreadable"
    BREAKING = "breaking"
    """The projection raises for it."""
    REFUSED = "refused"
    NAMED = "named"
    """Refused, and the store says which record of the batch it means."""
    UNKNOWN = "unknown"
    """Refused for a reason that may not be its own."""
    HUGE = "huge"
    """Too large for the store, also alone."""


UNREAD = (Fate.UNREADABLE, Fate.BREAKING)
REFUSED = (Fate.REFUSED, Fate.NAMED, Fate.UNKNOWN, Fate.HUGE)


@dataclass(frozen=True, slots=True)
class Message:
    """One message. Its number stands for its place among all that are published."""

    number: int
    kind: str
    id: str = ""
    load: str | None = None
    fate: Fate = Fate.STORED
    text: int = 0
    """Its content: messages with the same id and text are the same record published twice."""
    size: int = 0
    """Bytes of ballast."""
    hashed: bool = True
    returned: int = 0
    """How often a broker has had it back before our story begins."""
    body: bytes = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "body", self._body())

    @property
    def rank(self) -> tuple[str, int]:
        """Of two messages with one id, the higher one counts."""
        return self.load or "", self.number

    @property
    def is_wide(self) -> bool:
        """Whether its header, as published, just fits a frame."""
        return self.number % 29 == 0

    @property
    def is_bad(self) -> bool:
        """Whether no store can ever take it."""
        return self.fate not in (Fate.STORED, Fate.CONTROL)

    def _body(self) -> bytes:
        if self.fate is Fate.CONTROL:
            return b'{"type":"file_complete","data_type":"%b","file":"%d"}' % (self.kind.encode(), self.number)
        if self.fate is Fate.UNREADABLE:
            return b"{%d" % self.number
        sha = hashlib.sha256(f"{self.id} {self.text}".encode()).hexdigest()[:16] if self.hashed else None
        content = {"type": "data", "id": self.id, "sha256": sha, "text": self.text, "ballast": "x" * self.size}
        if self.fate is Fate.BREAKING:
            content["explode"] = True
        return json.dumps(content).encode()


class Record(msgspec.Struct, frozen=True):
    """A record as the model store takes it."""

    id: str
    hash: str
    version: str | None
    body: bytes


@Projection
def project(envelope: Envelope, delivery: Delivery, record_id: str) -> Record:
    """Project as a service would; a record may break it."""
    if b"explode" in delivery.body:
        raise ZeroDivisionError("the projection divides by the record")
    return Record(record_id, envelope.sha256 or "", delivery.load, delivery.body)


class Published:
    """All that was published."""

    def __init__(self) -> None:
        self.all: list[Message] = []
        self._by_content: dict[tuple[str, bytes], Message] = {}

    def add(self, messages: Iterable[Message]) -> None:
        """Take note of messages."""
        for message in messages:
            self.all.append(message)
            self._by_content[message.kind, message.body] = message

    def of(self, kind: str, body: bytes) -> Message:
        """The last message with this content."""
        return self._by_content[kind, body]

    def best(self, *, leaving_out: Container[tuple[str, bytes]] = ()) -> dict[tuple[str, str], Message]:
        """Per kind and id, what must be stored in the end, of all but some contents."""
        best: dict[tuple[str, str], Message] = {}
        for message in self.all:
            key = message.kind, message.id
            if (message.kind, message.body) in leaving_out:
                continue
            if message.fate is Fate.STORED and (key not in best or best[key].rank < message.rank):
                best[key] = message
        return best
