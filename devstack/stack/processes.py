"""Recognise and end the stack's processes.

A process is remembered by its id and the moment it began: an id alone may by now belong to a stranger, and a
stranger is never signalled. What a killed process leaves behind is found by a mark in its environment.
"""

import os
import signal
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import msgspec
import psutil

MARK = "SPINDLE_STACK_MEMBER"
_BOOT = Path("/proc/sys/kernel/random/boot_id")


class ProcessRef(msgspec.Struct, frozen=True):
    """One process: `started` is the boot and the clock tick of its start."""

    pid: int
    started: str


def identify(pid: int) -> ProcessRef | None:
    """Return the process that has this id now."""
    fields = _stat(pid)
    return None if fields is None else ProcessRef(pid, f"{_BOOT.read_text().strip()}:{fields[19]}")


def is_running(ref: ProcessRef) -> bool:
    """Tell whether this very process still runs; one that ended but was not yet waited for does not."""
    fields = _stat(ref.pid)
    return fields is not None and fields[0] not in "ZX" and identify(ref.pid) == ref


def _stat(pid: int) -> list[str] | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The second field is the program's name in brackets and may itself hold spaces and brackets.
    return text.rpartition(")")[2].split()


def end(ref: ProcessRef, ask: signal.Signals, *, timeout: float) -> None:
    """Ask a process to end, wait, and kill it and what it started when the time is over."""
    _signal(ref, ask)
    _signal(ref, signal.SIGCONT)  # a frozen process hears nothing else
    if not wait_until_ended(ref, timeout):
        kill(ref)


def kill(ref: ProcessRef) -> None:
    """End a process and everything it started at once, as `kill -9` does."""
    family = [ref, *descendants(ref)]
    for member in family:
        _signal(member, signal.SIGKILL)
    for member in family:
        wait_until_ended(member, 5.0)


def end_remains(mark: str, *, timeout: float) -> None:
    """End the processes that carry this mark: children whose parent was killed, such as a supervised service."""
    for ref in marked(mark):
        end(ref, signal.SIGTERM, timeout=timeout)


def marked(mark: str) -> list[ProcessRef]:
    """Return the processes that carry this mark and still run, the oldest first."""
    found = [
        (process.create_time(), ref)
        for process in psutil.process_iter()
        if _mark_of(process) == mark and (ref := identify(process.pid)) is not None and is_running(ref)
    ]
    return [ref for _, ref in sorted(found, key=lambda pair: pair[0])]


def freeze(ref: ProcessRef) -> None:
    """Stop a process without ending it: its sockets stay open and say nothing.

    The eldest first: what it started after its children were listed would go on, and answer for all.
    """
    _signal(ref, signal.SIGSTOP)
    stopped: set[ProcessRef] = set()
    while fresh := {*descendants(ref)} - stopped:
        for member in fresh:
            _signal(member, signal.SIGSTOP)
        stopped |= fresh


def thaw(ref: ProcessRef) -> None:
    """Let a frozen process go on."""
    for member in (ref, *descendants(ref)):
        _signal(member, signal.SIGCONT)


def wait_until_ended(ref: ProcessRef, timeout: float) -> bool:
    """Wait for a process that need not be a child of this one; tell whether it ended in time."""
    deadline = time.monotonic() + timeout
    while is_running(ref):
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.02)
    return True


def listening(refs: Iterable[ProcessRef]) -> set[int] | None:
    """Return the TCP ports on which these processes and what they started listen; None if that may not be seen.

    Of another account's process root itself sees it only with CAP_SYS_PTRACE, which containers lack.
    """
    found: set[int] = set()
    for member in {each for ref in refs for each in (ref, *descendants(ref))}:
        with suppress(psutil.NoSuchProcess):
            try:
                connections = psutil.Process(member.pid).net_connections("tcp")
            except psutil.AccessDenied:
                return None
            found |= {each.laddr.port for each in connections if each.status == psutil.CONN_LISTEN and each.laddr}
    return found


def descendants(ref: ProcessRef) -> list[ProcessRef]:
    """Return what a process started, and what that started; nothing once it has ended."""
    if not is_running(ref):
        return []
    with suppress(psutil.NoSuchProcess):
        children = psutil.Process(ref.pid).children(recursive=True)
        return [found for child in children if (found := identify(child.pid)) is not None]
    return []


def _mark_of(process: psutil.Process) -> str | None:
    try:
        return process.environ().get(MARK)
    except (psutil.Error, OSError):
        return None  # somebody else's, or gone


def _signal(ref: ProcessRef, number: signal.Signals) -> None:
    if is_running(ref):
        with suppress(ProcessLookupError):
            os.kill(ref.pid, number)
