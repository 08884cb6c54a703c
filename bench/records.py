"""The records of a run, made once: releases in the sizes of real ones, and the same with one in twenty changed."""

from collections.abc import Sequence
from itertools import islice

import msgspec

from extractor.loads import messages
from extractor.message import Message, to_message
from extractor.synthetic.synthetic import SHARES, SyntheticLoad

CHANGED_EVERY = 20


def load_of(count: int, *, seed: int) -> SyntheticLoad:
    """The load whose first `count` releases are used: its other kinds are what these refer to."""
    return SyntheticLoad(int(count / SHARES["releases"]) + 10, seed, kinds=("releases",))


def releases(load: SyntheticLoad, count: int) -> list[Message]:
    """The first releases of a load."""
    return list(islice(messages(load, "releases"), count))


def with_changes(originals: Sequence[Message]) -> list[Message]:
    """The same records, every twentieth with another title: in a month 4.6% of real ones change."""
    return [
        _changed(message) if position % CHANGED_EVERY == CHANGED_EVERY - 1 else message
        for position, message in enumerate(originals)
    ]


def _changed(message: Message) -> Message:
    content = msgspec.json.decode(message.body)
    record = {key: value for key, value in content.items() if key not in ("type", "sha256")}
    return to_message(message.kind, record | {"title": f"{record.get('title')} (remastered)"})
