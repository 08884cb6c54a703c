"""The same records a month later: `spindle load` publishes the difference, checks it, and removes what is gone."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from common.errors import SpindleError
from devstack.demo.extracting import end
from devstack.demo.stacks import Stack
from extractor.synthetic.synthetic import SyntheticLoad
from spindle.sources import Source, made_up
from spindle.verification.findings import Verification, as_data


class NextMonthFailed(SpindleError):
    """`spindle load` did not come to its end; it has said why."""


@dataclass(frozen=True, slots=True)
class NextMonth:
    """What the command said that it did, and what both stores hold afterwards."""

    name: str
    date: str
    summary: Mapping[str, Any]
    verification: Verification
    report: str = ""
    """Where its report is, which says how it went; empty if there is none."""

    @property
    def verified(self) -> bool:
        """Whether both stores hold that month, and nothing that is gone by then."""
        return bool(self.summary["complete"]) and not self.summary["refused"] and self.verification.agrees

    def parts(self) -> list[dict[str, Any]]:
        """A kind in a store each: how much of it was new, changed, unchanged and removed, and if it is verified."""
        planned = {(part["kind"], part["store"]): part for part in self.summary["plan"]}
        return [
            {
                "kind": part["kind"],
                "store": part["store"],
                "new": plan["new"],
                "changed": plan["changed"],
                "unchanged": plan["same"],
                "published": part["written"],
                "removed": part["removed"],
                "verified": self.verification.of(part["store"], part["kind"]).agrees,
            }
            for part in self.summary["parts"]
            for plan in [planned[part["kind"], part["store"]]]
        ]

    def as_data(self) -> dict[str, Any]:
        """For a program."""
        return {
            "verified": self.verified,
            "load": self.name,
            "date": self.date,
            "refused": self.summary["refused"],
            "report": self.report,
            "parts": self.parts(),
            "verification": as_data(self.verification),
        }


def month_after(load: SyntheticLoad) -> Source:
    """The same records a month later."""
    year, month = int(load.date[:4]), int(load.date[4:6])
    date = f"{year + month // 12}{month % 12 + 1:02}01"
    return made_up(replace(load, month=load.month + 1, date=date))


def load_difference(stack: Stack, source: Source, folder: Path) -> Mapping[str, Any]:
    """Run `spindle load`. Returns: its summary.

    Raises: NextMonthFailed.
    """
    report = folder / "next_month.json"
    with report.open("wb") as output:
        process = stack.operate("load", *source.arguments, "--remove", "--json", output=output)
        try:
            code = process.wait()  # for as long as anything moves: it gives up by itself
        finally:
            end(process)
    try:
        summary: dict[str, Any] = json.loads(report.read_bytes())
    except ValueError:
        raise NextMonthFailed(f"spindle load of {source.load.date} ended with exit code {code}") from None
    return summary
