"""Many simulations in a row."""

from collections import Counter
from dataclasses import dataclass, field

from tests.simulation.scenarios import draw
from tests.simulation.simulate import simulate


@dataclass(slots=True)
class Totals:
    """What many simulations came to."""

    seeds: int = 0
    steps: int = 0
    virtual_seconds: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)
    scenarios: Counter[str] = field(default_factory=Counter)
    violations: dict[int, str] = field(default_factory=dict)

    def add(self, other: "Totals") -> None:
        """Add what others came to."""
        self.seeds += other.seeds
        self.steps += other.steps
        self.virtual_seconds += other.virtual_seconds
        self.faults += other.faults
        self.scenarios += other.scenarios
        self.violations |= other.violations


def run(seeds: range) -> Totals:
    """Simulate some seeds."""
    totals = Totals(seeds=len(seeds))
    for seed in seeds:
        story = draw(seed)
        ending = simulate(story)
        totals.steps += ending.steps
        totals.virtual_seconds += ending.seconds
        totals.scenarios[story.scenario] += 1
        totals.faults.update(fault for step in story.steps for fault in step.faults)
        if ending.violation is not None:
            totals.violations[seed] = ending.violation
    return totals
