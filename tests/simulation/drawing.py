"""Draws what happens in a story, step by step."""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.simulation.confirming import Confirms
from tests.simulation.messages import UNREAD, Fate, Message
from tests.simulation.story import KINDS, Setup, Step

BAD = (Fate.UNREADABLE, Fate.BREAKING, Fate.REFUSED, Fate.NAMED, Fate.UNKNOWN, Fate.HUGE)
PAUSES = (0.0, 0.0, 0.001, 0.02, 0.05, 0.5, 3.0, 12.0)
OUTAGES = (0.3, 2.0, 10.0, 10.0, 40.0, 100.0)
"""Seconds; the last one is beyond the hold limit."""


@dataclass(slots=True)
class Drawing:
    """Draws one story."""

    rng: random.Random
    setup: Setup
    faulty: float
    ids: int
    loads: tuple[str | None, ...]
    number: int = 0
    bad: Counter[str] = field(default_factory=Counter)
    odd: int = 0
    texts: list[Message] = field(default_factory=list)

    def publish(self, most: int) -> Step:
        """Some messages."""
        return Step("publish", (tuple(self.message() for _ in range(self.rng.randint(1, most))),))

    def message(self) -> Message:
        """One message: mostly good, of few ids, so that versions meet."""
        rng, self.number = self.rng, self.number + 1
        kind = rng.choice(KINDS[: self.setup.kinds])
        chance = rng.random()
        if chance < 0.02:
            return Message(self.number, kind, fate=Fate.CONTROL)
        if chance < 0.05 and self.texts:
            same = rng.choice(self.texts)
            return Message(self.number, same.kind, same.id, same.load, text=same.text, size=same.size)
        fate = self.fate(kind)
        message = Message(
            self.number,
            kind,
            str(rng.randint(1, self.ids)),
            rng.choice(self.loads),
            fate,
            text=self.number,
            size=rng.choice((0, 0, 0, 0, 400)),
            hashed=rng.random() < 0.95,
            returned=11 if rng.random() < 0.04 else 0,
        )
        if fate is Fate.STORED and message.hashed:
            self.texts.append(message)
        return message

    def fate(self, kind: str) -> Fate:
        """What is to become of a message of this kind."""
        fate = self.rng.choice(BAD) if self.rng.random() < self.faulty else Fate.STORED
        fate = Fate.REFUSED if fate is Fate.UNKNOWN and self.ids < 30 else fate
        # A prefetch full of records that wait for evidence waits forever, as it should: nothing proves that the store
        # takes writes. Suspects wait, and so does what quarantine holds, and whatever has their ids. It is the same if
        # bytes are the limit: some seven fit, so there are no more bad ones than the flood guard has credit for twice.
        if fate is not Fate.STORED:
            self.bad[kind] += 1 if fate in UNREAD else 4 if fate is Fate.UNKNOWN else 2
            room = min(self.setup.prefetch, self.setup.flood) if self.setup.is_narrow else self.setup.prefetch
            if self.bad[kind] * 2 > room:
                return Fate.STORED
        return fate

    def store(self) -> list[Step]:
        """Something is the matter with the store, for a while."""
        rng = self.rng
        moods: list[dict[str, Any]] = [
            {"away": rng.choice(("down", "down", "alarm", "readonly", "hanging"))},
            {"conflicts": rng.choice((0.2, 0.6, 1.0))},
            {"mute": rng.choice((0.3, 1.0))},
            {"latency": rng.choice((0.05, 1.0, 15.0))},
            {"most": rng.choice((1, 2))},
            {"latency": 0.3, "mute": 0.2, "conflicts": 0.2},
        ]
        return [Step("store", (rng.choice(moods),)), *self.meanwhile(rng.choice(OUTAGES)), Step("store", ({},))]

    def refusing(self) -> list[Step]:
        """The store refuses everything for a while."""
        # Three odd times could be evidence against a record that was tried in each of them.
        how = "certain" if self.odd == 2 else self.rng.choice(("certain", "odd"))
        self.odd += how == "odd"
        return [Step("store", ({"refusing": how},)), *self.meanwhile(self.rng.choice(OUTAGES)), Step("store", ({},))]

    def meanwhile(self, seconds: float) -> list[Step]:
        """What else happens in this time."""
        rng = self.rng
        steps = [Step("wait", (seconds * rng.random(),))]
        if rng.random() < 0.5:
            steps.append(self.publish(12))
        if rng.random() < 0.3:
            steps += self.broker() if rng.random() < 0.6 else self.process()
        return [*steps, Step("wait", (seconds - steps[0].values[0],))]

    def broker(self) -> list[Step]:
        """Something happens to the way from the broker."""
        rng, which = self.rng, self.rng.randrange(4)
        what: list[Callable[[], list[Step]]] = [
            lambda: [Step("lose_channel", (which,))],
            lambda: [Step("lose_connection", (which, 0.0))],
            lambda: [Step("cancel_consumer", (which,))],
            lambda: [Step("time_out", (which,))],
            lambda: [Step("stall", (which, rng.choice((0.05, 2.0, 45.0))))],
            lambda: [Step("restart_broker", (rng.choice((0.0, 1.0, 20.0)),))],
            lambda: [Step("lose_connection", (which, rng.choice((0.5, 5.0))))] if self.setup.replicas > 1 else [],
        ]
        return rng.choice(what)()

    def letters(self) -> list[Step]:
        """Something happens to dead letters."""
        rng = self.rng
        what = [
            [Step("confirm", (rng.choice(list(Confirms)),))],
            [Step("block"), Step("wait", (rng.choice(PAUSES),)), Step("unblock")],
            [Step("block")],
            [Step("unroute")],
            [Step("lose_letters")],
        ]
        return rng.choice(what)

    def process(self) -> list[Step]:
        """A process is stopped or killed: at once, while it stops, or at its deadline."""
        rng, which, pause = self.rng, self.rng.randrange(2), self.rng.choice((0.0, 0.0, 1.0))
        what = [
            [Step("stop", (which, pause))],
            [Step("kill", (which, pause))],
            [Step("stop", (which, pause)), Step("wait", (rng.choice(PAUSES),)), Step("kill", (which, pause))],
        ]
        return self.deadline(which, pause) if rng.random() < 0.25 else rng.choice(what)

    def deadline(self, which: int, pause: float) -> list[Step]:
        """A process is stopped while it writes something that takes longer than it has."""
        rng = self.rng
        return [
            Step("store", ({"away": "hanging"} if rng.random() < 0.5 else {"latency": 15.0},)),
            self.publish(8),
            *([Step("wait", (0.05,))] if rng.random() < 0.8 else []),
            Step("stop", (which, pause)),
            Step("wait", (rng.choice((0.5, 12.0, 12.0)),)),
            Step("store", ({},)),
        ]

    def crashes(self) -> list[Step]:
        """A process begins, takes a prefetch, and ends before it has done anything with it, again and again."""
        rng = self.rng
        moods = {"away": rng.choice(("down", "readonly", "hanging"))}, {"latency": 15.0}, {"most": 1}
        steps = [Step("store", (rng.choice(moods),)), self.publish(24)]
        for _ in range(rng.choice((3, 12))):
            steps += [
                Step("wait", (rng.choice((0.02, 0.4, 0.4)),)),
                Step(rng.choice(("kill", "kill", "stop")), (0, 0.0)),
            ]
        return [*steps, Step("store", ({},))]
