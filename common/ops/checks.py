"""What a look at a server found before anything runs: all right, a warning or a failure, each in a sentence.

The sentence of a warning or a failure says what to do. It holds no secret.
"""

from dataclasses import dataclass
from enum import StrEnum

from common.errors import RecordsRefused, SinkError

MOST_OFFSET = 5.0
"""Seconds that two clocks may differ: latencies are measured from one machine's clock to another's."""


class State(StrEnum):
    """How a check ended."""

    OK = "ok"
    UNKNOWN = "not checked"
    UNASKED = "not answered"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at; `server` is where, `name` what."""

    server: str
    name: str
    state: State
    sentence: str


@dataclass(frozen=True, slots=True)
class Findings:
    """Makes the checks of one server."""

    server: str

    def ok(self, name: str, sentence: str) -> Check:
        """What is as it must be."""
        return Check(self.server, name, State.OK, sentence)

    def unknown(self, name: str, sentence: str) -> Check:
        """What there is no way to find out here; the sentence says why."""
        return Check(self.server, name, State.UNKNOWN, sentence)

    def unasked(self, name: str, sentence: str) -> Check:
        """What would be found out if it could be asked; the sentence says why it can't."""
        return Check(self.server, name, State.UNASKED, sentence)

    def warning(self, name: str, sentence: str) -> Check:
        """What a load survives."""
        return Check(self.server, name, State.WARNING, sentence)

    def failed(self, name: str, sentence: str) -> Check:
        """What a load would fail in."""
        return Check(self.server, name, State.FAILED, sentence)

    def clock(self, theirs: float, *, asked: float, answered: float, exact: float = 0.0) -> Check:
        """Compare a server's clock with ours: seconds since 1970, its own and ours before and after.

        `exact`: by how much the server rounds its time down.
        """
        behind, ahead = asked - theirs - exact, theirs - answered
        offset = max(behind, ahead, 0.0)
        if offset <= MOST_OFFSET:
            return self.ok("clock", f"Its clock and ours agree to {MOST_OFFSET:g} s.")
        where = "behind" if behind > ahead else "ahead of"
        return self.warning(
            "clock",
            f"Its clock is {offset:,.0f} s {where} ours: measured latencies are wrong by as much; "
            "have both machines set by NTP.",
        )


def sentence_of(error: SinkError, advice: str) -> str:
    """What a store's error means for the operator; `advice` where the error says no more than that it isn't reached.

    Only for errors of a record of our own: a store's words may repeat it.
    """
    if isinstance(error, RecordsRefused):
        words = error.refusal.text
    else:
        words = getattr(error, "alarm", None) or f"{str(error).rstrip('.')}: {advice}"
    return words if words.endswith(".") else f"{words}."
