"""Free disk and memory against what a load takes, as far as is known. Pure but for the look at our own disk."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from common.ops.checks import Check, Findings
from spindle.doctor.needs import BROKER_IDLE, IN_MEMORY, Need, in_words

_NAME = "disk"
_shared = Findings("servers")


def broker_disk(nodes: Sequence[Mapping[str, Any]], need: Need | None) -> Check:
    """The broker's nodes as its management API tells of them; `need` is None if no load is named."""
    found = Findings("RabbitMQ")
    for node in nodes:
        if node.get("disk_free_alarm"):
            return found.failed(_NAME, f"{node['name']} has a disk alarm and takes no messages: free some of its disk.")
        if node.get("mem_alarm"):
            return found.failed(_NAME, f"{node['name']} has a memory alarm and takes no messages: see what fills it.")
    known = [node for node in nodes if isinstance(node.get("disk_free"), int)]  # else a word for why not
    free = [node["disk_free"] - node.get("disk_free_limit", 0) for node in known]
    if not free:
        return found.unknown(_NAME, "Its management API does not tell how much is free.")
    room = f"{in_words(min(free))} are free above its limit"
    if need is None:
        return found.ok(_NAME, f"{room}; name the load (--synthetic, --dumps) to have it compared.")
    if min(free) < need.rabbitmq:
        return found.failed(
            _NAME,
            f"{room}, and this load's queues may take {in_words(need.rabbitmq)}: free disk, "
            "or lower EXTRACTOR_MAX_BACKLOG.",
        )
    return found.ok(_NAME, f"{room}; this load's queues take {in_words(need.rabbitmq)} at the most.")


def broker_memory(nodes: Sequence[Mapping[str, Any]], max_backlog: int) -> Check:
    """Compare what may wait in the queues with the memory at which the broker's nodes block publishers."""
    found = Findings("RabbitMQ")
    limits = [node["mem_limit"] for node in nodes if isinstance(node.get("mem_limit"), int)]
    if not limits:
        return found.unknown("memory", "Its management API does not tell at how much memory it blocks publishers.")
    limit, takes = min(limits), BROKER_IDLE + max_backlog * IN_MEMORY
    sentence = (
        f"It blocks publishers at {in_words(limit)} of memory; {max_backlog:,} waiting messages, at which the "
        f"extractor pauses, take about {in_words(takes)}"
    )
    if takes > limit:
        fits = max(1, (limit - BROKER_IDLE) // IN_MEMORY)
        return found.warning(
            "memory", f"{sentence}: set EXTRACTOR_MAX_BACKLOG to {fits:,} or less, or its limit higher."
        )
    return found.ok("memory", f"{sentence}.")


def store_disk(server: str, need: int | None) -> Check:
    """A store that does not tell how much disk is free."""
    takes = "" if not need else f"; this load takes about {in_words(need)} there"
    return Findings(server).unknown(_NAME, f"It does not tell how much is free: look at its machine{takes}.")


def common_disk(folder: Path, need: Need | None) -> Check:
    """The disk that all three servers share, as in the native stack, by a folder on it."""
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return _shared.unasked(_NAME, f"{folder} can't be looked at ({error.strerror}): see DOCTOR_DISK.")
    return shared_disk(str(folder), free, need)


def shared_disk(place: str, free: int, need: Need | None) -> Check:
    """Compare one disk's free bytes with what all three servers take."""
    room = f"{in_words(free)} are free in {place}, for all servers"
    if need is None:
        return _shared.ok(_NAME, f"{room}; name the load (--synthetic, --dumps) to have it compared.")
    if free < need.together:
        return _shared.failed(_NAME, f"{room}, and this load takes about {in_words(need.together)}: free disk.")
    return _shared.ok(_NAME, f"{room}; this load takes about {in_words(need.together)}.")
