"""The envelope that every message shares, and the control messages.

Full records belong to the services: the runtime decodes no more than it needs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any, Generic, TypeVar

import msgspec

from common.delivery import Delivery

# Storing under one of them would merge strangers into one row, or one node.
NO_IDS = frozenset({"", "0", "unknown", "null", "None"})
"""Ids that producers send when there is none."""


class Envelope(msgspec.Struct, gc=False):
    """What is read of every message. A foreign producer may write `id` twice (the last counts) and leave out a hash."""

    type: Any = None
    id: Any = None
    sha256: Any = None


class ControlType(StrEnum):
    """What a control message says is complete."""

    FILE = "file_complete"
    EXTRACTION = "extraction_complete"


class FileComplete(msgspec.Struct, frozen=True):
    """All records of one kind's file have been published. Never evidence that a load is complete."""

    data_type: str
    timestamp: str = ""
    total_processed: int = 0
    file: str = ""


class ExtractionComplete(msgspec.Struct, frozen=True):
    """Every kind of a dump has been published. Its counts may include records that were never published."""

    version: str
    timestamp: str = ""
    started_at: str = ""
    record_counts: dict[str, int] = {}


Control = FileComplete | ExtractionComplete

R = TypeVar("R")


@dataclass(frozen=True)
class Projection(Generic[R]):
    """From a message to what a sink writes.

    `make` is given the envelope, the delivery and the usable id. `envelope` is what is read of the body for it: the
    envelope alone, or one with a service's own fields, because reading a body twice costs as much again. Whatever
    either raises is the record's fault.
    """

    make: Callable[[Any, Delivery, str], R]
    envelope: type[Envelope] = Envelope

    @cached_property
    def read(self) -> Callable[[bytes], Any]:
        """Read a body's envelope. Raises: msgspec.DecodeError, UnicodeDecodeError, RecursionError."""
        return msgspec.json.Decoder(self.envelope).decode
