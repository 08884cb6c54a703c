"""What a demo has measured and proved, per kind and store, and the same as data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from common.kinds import Service
from common.outcomes import Outcome
from devstack.demo.next_month import NextMonth
from spindle.verification import graph, tables
from spindle.verification.findings import StoreFindings, Verification, as_data, edge_text

STORES = {Service.TABLEINATOR: tables.STORE, Service.GRAPHINATOR: graph.STORE}
"""Which store a service writes to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KindResult:
    """One kind in one store. `seconds`: from the first record published to the last outcome, as seen from outside."""

    kind: str
    store: str
    published: int
    outcomes: Mapping[Outcome, int]
    seconds: float
    restarted: bool
    """Whether its service was restarted meanwhile, so that some counts died with the old process."""
    findings: StoreFindings | None = None
    recomputed: int | None = None
    """How many messages the load has when it is made or read again."""

    @property
    def settled(self) -> int:
        """How many records have come to any end."""
        return sum(self.outcomes.values())

    @property
    def rate(self) -> float:
        """Records per second."""
        return self.settled / self.seconds if self.seconds > 0 else 0.0

    @property
    def counts_agree(self) -> bool:
        """Whether the outcomes sum to what was published, as far as a restart has left them."""
        return self.recomputed == self.published and (self.settled == self.published or self.restarted)

    @property
    def verified(self) -> bool:
        """Whether counts and contents agree. A record may be stored in a newer version only if it was seen stale."""
        found = self.findings
        if found is None or not found.agrees or not self.counts_agree:
            return False
        return self.restarted or found.newer <= self.outcomes[Outcome.STALE]


@dataclass(slots=True, kw_only=True)
class DemoResult:
    """A whole demo. `failure` is a sentence if it did not come to its end."""

    load: str
    date: str
    stack: str = ""
    began: str = ""
    seconds: float = 0.0
    skipped: dict[str, int] = field(default_factory=dict)
    kinds: list[KindResult] = field(default_factory=list)
    verification: Verification | None = None
    next_month: NextMonth | None = None
    next_month_failure: str = ""
    failure: str = ""

    @property
    def verified(self) -> bool:
        """Whether all of it is verified, the next month too if there was one."""
        if self.next_month_failure or (self.next_month is not None and not self.next_month.verified):
            return False
        return self.is_first_verified

    @property
    def is_first_verified(self) -> bool:
        """Whether everything published is in both stores with exactly its content, and the counts say so."""
        return (
            not self.failure
            and self.verification is not None
            and self.verification.agrees
            and any(kind.published for kind in self.kinds)  # of nothing published, nothing is shown
            and all(kind.verified for kind in self.kinds)
        )


def to_json(result: DemoResult) -> dict[str, Any]:
    """The result for a program."""
    kinds: dict[str, dict[str, Any]] = {}
    for part in result.kinds:
        kinds.setdefault(part.kind, {})[part.store] = _kind_to_json(part)
    return {
        "verified": result.verified,
        "load": result.load,
        "date": result.date,
        "stack": result.stack,
        "began": result.began,
        "seconds": round(result.seconds, 1),
        "failure": result.failure,
        "kinds": kinds,
        "skipped": result.skipped,
        "edges": _edges_to_json(result.verification),
        "verification": as_data(result.verification) if result.verification else None,
        "next_month": result.next_month.as_data() if result.next_month else None,
        "next_month_failure": result.next_month_failure,
    }


def _kind_to_json(part: KindResult) -> dict[str, Any]:
    return {
        "published": part.published,
        **{outcome.value: part.outcomes[outcome] for outcome in Outcome},
        "uncounted": part.published - part.settled,
        "rate": round(part.rate, 1),
        "seconds": round(part.seconds, 2),
        "restarted": part.restarted,
        "newer": part.findings.newer if part.findings else 0,
        "verified": part.verified,
    }


def _edges_to_json(verification: Verification | None) -> dict[str, dict[str, int]]:
    edges = verification.edges() if verification else {}
    return {edge_text(name): {"expected": count.expected, "stored": count.stored} for name, count in edges.items()}
