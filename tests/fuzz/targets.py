"""Every fuzz target with its good beginnings, and how bytes are changed."""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tests.fuzz import amqp, dumps, messages

_LONGEST = 65536


@dataclass(frozen=True, slots=True)
class Target:
    """What takes any bytes, and bytes that mean something to it."""

    run: Callable[[bytes], None]
    seeds: Sequence[bytes]


TARGETS: Mapping[str, Target] = {
    name: Target(run, module.SEEDS) for module in (amqp, messages, dumps) for name, run in module.TARGETS.items()
}


def inputs(target: str, first: int = 0) -> Iterator[tuple[int, bytes]]:
    """Numbered inputs without an end; a number is always the same input."""
    seeds, number = TARGETS[target].seeds, first
    while True:
        yield number, changed(random.Random(f"{target} {number}"), seeds)
        number += 1


def changed(rng: random.Random, seeds: Sequence[bytes]) -> bytes:
    """One of the seeds, or two joined, with a few bytes changed, lost, put in, repeated or moved."""
    data = bytearray(rng.choice(seeds))
    if rng.random() < 0.2:
        other = rng.choice(seeds)
        data[rng.randrange(len(data) + 1) :] = other[rng.randrange(len(other) + 1) :]
    for _ in range(rng.choice((1, 1, 2, 4, 8, 32))):
        at = rng.randrange(len(data) + 1)
        end = min(len(data), at + rng.choice((0, 1, 1, 2, 8, 64)))
        match rng.randrange(4):
            case 0:
                data[at:end] = rng.randbytes(rng.randrange(4))
            case 1:
                data[at:end] = data[at:end] * rng.choice((0, 2, 3, 100))
            case 2:
                source = rng.randrange(len(data) + 1)
                data[at:end] = data[source : source + rng.randrange(32)]
            case _:
                data[at:at] = rng.choice(
                    (b'"', b"\\u0000", b"\\ud800", b"<", b">", b"</", b"]]>", b"&", b"[", b"{", b"\xff")
                )
    return bytes(data[:_LONGEST])
