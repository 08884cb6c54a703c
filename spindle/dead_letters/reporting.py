"""What a command has found or done, for a program and for a person."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console

from spindle.dead_letters.replaying import Replay
from spindle.dead_letters.showing import groups_table
from spindle.dead_letters.summary import Summary
from spindle.dead_letters.sweep import Passage


def list_data(summary: Summary, passage: Passage) -> dict[str, Any]:
    """The groups, for a program."""
    return {
        "letters": summary.count,
        "failed_again": summary.replayed,
        "newest_load": passage.newest_load,
        "groups": [group.as_data() for group in summary.groups],
    }


def show_list(summary: Summary, passage: Passage, console: Console) -> None:
    """The groups, for a person."""
    if not summary.count:
        console.print("no dead letters" if not passage.choice.is_narrow else "no such letter")
        return
    console.print(groups_table(summary.groups))
    again = f", {summary.replayed:,} of them failed again after a replay" if summary.replayed else ""
    console.print(f"{summary.count:,} letters{again}")


def replay_data(replay: Replay, *, dry_run: bool) -> dict[str, Any]:
    """What became of each letter, for a program."""
    return {
        "replayed": replay.replayed,
        "failed_before": replay.failed_again,
        "refused": replay.refused,
        "outdated": replay.outdated,
        "beyond_limit": replay.left,
        "newest_load": replay.newest_load,
        "dry_run": dry_run,
    }


def show_replay(replay: Replay, console: Console, *, dry_run: bool) -> None:
    """The same for a person."""
    said = "would be replayed" if dry_run else "replayed"
    again = f" ({replay.failed_again:,} had failed again after an earlier replay)" if replay.failed_again else ""
    console.print(f"{replay.replayed:,} letters {said}{again}")
    if replay.outdated:
        console.print(
            f"{replay.outdated:,} stay: older than the newest load, {replay.newest_load}; --force takes them too"
        )
    if replay.refused:
        console.print(f"{replay.refused:,} stay: their queue is missing or does not take them")
    if replay.left:
        console.print(f"{replay.left:,} stay: beyond --limit")


def show_import(data: Mapping[str, Any], console: Console) -> None:
    """What became of an export's letters."""
    said = "would be put back" if data["dry_run"] else "put back"
    console.print(f"{data['imported']:,} letters {said}; {data['there_already']:,} are there already")
    if data["refused"]:
        console.print(f"{data['refused']:,} were not taken: their queue is missing or full")


def show_edit(data: Mapping[str, Any], console: Console) -> None:
    """What became of edited records."""
    said = "would be edited and sent back" if data["dry_run"] else "edited and sent back"
    console.print(f"{data['edited']:,} records {said}")
    for sentence in data["not_editable"]:
        console.print(f"stays: {sentence}", markup=False)
    if data["unchanged"]:
        console.print(f"{data['unchanged']:,} stay: nothing was changed")
    if data["outdated"]:
        console.print(f"{data['outdated']:,} stay: older than the newest load; --force takes them too")
    if data["gone"]:
        console.print(f"{data['gone']:,} were not met again: somebody else has taken them")
    if data["refused"]:
        console.print(f"{data['refused']:,} stay: their queue is missing or does not take them")
