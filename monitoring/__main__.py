"""Write rules and dashboards; with `--check` only say which of the files are not as they would be written."""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

from monitoring.alerts import RUNBOOK
from monitoring.dashboards import dashboard_files
from monitoring.rules import chart_rules, operators_rules, rule_files

HERE = Path(__file__).parent


def files(runbook: str = RUNBOOK) -> Mapping[Path, str]:
    """Everything that is made from code, by its place. `runbook`: to which page the alerts' links lead."""
    boards = {HERE / "grafana" / "dashboards" / name: text for name, text in dashboard_files().items()}
    rules = {HERE / "rules" / name: text for name, text in rule_files().items()}
    rules |= {_kubernetes() / "rules.yaml": operators_rules()}
    before, after = f"runbook_url: {RUNBOOK}#", f"runbook_url: {runbook}#"
    linked = {path: text.replace(before, after) for path, text in rules.items()}
    return {**boards, **linked, _chart() / "rules.yaml": chart_rules()}  # the chart has a value for it


def outdated(runbook: str = RUNBOOK) -> list[Path]:
    """The files that differ from what would be written, and those that nothing would write any more."""
    wanted = files(runbook)
    folders = {path.parent for path in wanted} - {_kubernetes()}  # the rest of which is written by hand
    there = {path for folder in folders for path in folder.iterdir()}
    differing = [path for path, text in wanted.items() if not path.exists() or path.read_text() != text]
    return sorted([*differing, *(there - set(wanted))])


def _kubernetes() -> Path:
    return HERE.parent / "deploy" / "kubernetes" / "base"


def _chart() -> Path:
    return HERE.parent / "deploy" / "helm" / "spindle" / "files"


def main() -> int:
    """Run the command. Returns: its exit code."""
    parser = argparse.ArgumentParser(prog="python -m monitoring", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where a file is not up to date")
    parser.add_argument(
        "--runbook",
        metavar="URL",
        default=RUNBOOK,
        help="where the runbook is that alerts lead to (default %(default)s)",
    )
    options = parser.parse_args()
    if options.check:
        for path in (stale := outdated(options.runbook)):
            print(f"{path.relative_to(HERE.parent)} is not what `make dashboards` writes", file=sys.stderr)
        return 1 if stale else 0
    for path, text in files(options.runbook).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
