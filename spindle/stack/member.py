"""One server or service of a stack: start it, stop it, kill it, see how it is."""

import signal
import subprocess
import threading
import time
from collections.abc import Callable
from enum import StrEnum
from functools import partial
from pathlib import Path

import msgspec

from spindle.stack import ports, processes
from spindle.stack.files import last_lines
from spindle.stack.processes import Command, ProcessRef
from spindle.stack.recipe import Place, Recipe, StackFailed
from spindle.stack.state import MemberState, StateFile, new_password

STOP_LIMIT = 20.0  # seconds; a service's own deadline is 8, Neo4j under load needs about as long


class Condition(StrEnum):
    """How a member is."""

    RUNNING = "running"
    UNREADY = "not ready"
    PARTLY = "partly dead"
    DEAD = "dead"  # started, and ended by something else than us
    STOPPED = "stopped"
    ABSENT = "absent"  # never started


class Member:
    """A recipe at its place. One command at a time uses it; the stack's lock sees to that."""

    def __init__(self, recipe: Recipe, home: Path, state: StateFile) -> None:
        self.recipe = recipe
        self._home = home
        self._state = state
        self._mark = str(home / recipe.name)
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def name(self) -> str:
        """Return the recipe's name."""
        return self.recipe.name

    @property
    def place(self) -> Place:
        """Return folder, ports and password as they are now."""
        known = self._state.member(self.name)
        return Place(self._home / self.name, self._home / "logs", known.ports, known.password)

    @property
    def process(self) -> ProcessRef | None:
        """Return the server's own process as it was last started."""
        started = self._state.member(self.name).processes
        return started.get(self._main_name()) if started else None

    def condition(self) -> Condition:
        """Look at the processes and ask the server."""
        known = self._state.member(self.name)
        if not known.ports:
            return Condition.ABSENT
        if not known.processes:
            return Condition.STOPPED
        running = [processes.is_running(ref) for ref in known.processes.values()]
        if not any(running):
            return Condition.DEAD
        if not all(running):
            return Condition.PARTLY
        return Condition.RUNNING if self.recipe.is_ready(self.place) else Condition.UNREADY

    def start(self, abandoned: threading.Event | None = None) -> None:
        """Start what is not running and wait until it answers. Raises: StackFailed, with everything stopped again."""
        if self.condition() is Condition.RUNNING:
            return
        self.stop()
        try:
            self._start(abandoned or threading.Event())
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Ask for a clean end, wait, and kill after a bound. Fine when nothing runs."""
        signals = {command.name: command.stop_signal for command in self._commands()}
        for name, ref in reversed(self._state.member(self.name).processes.items()):
            processes.end(ref, signals.get(name, signal.SIGTERM), timeout=STOP_LIMIT)
        processes.end_remains(self._mark, timeout=STOP_LIMIT)
        self._forget()

    def kill(self) -> None:
        """End every process at once, as a power cut would."""
        for ref in reversed(self._state.member(self.name).processes.values()):
            processes.kill(ref)
        processes.end_remains(self._mark, timeout=0.0)
        self._forget()

    def freeze(self) -> None:
        """Make the server fall silent with its connections open."""
        if (process := self.process) is not None:
            processes.freeze(process)

    def thaw(self) -> None:
        """Let a frozen server go on."""
        if (process := self.process) is not None:
            processes.thaw(process)

    def _start(self, abandoned: threading.Event) -> None:
        self._state.change(self.name, self._settle_in)
        place = self.place
        place.folder.mkdir(mode=0o700, exist_ok=True)
        place.logs.mkdir(mode=0o700, exist_ok=True)
        self.recipe.prepare(place)
        deadline = time.monotonic() + self.recipe.patience
        for command in self._commands():
            self._launch(command)
            if command.port is not None:
                self._await(partial(ports.is_listening, command.port), command, deadline, abandoned)
        self._await(partial(self.recipe.is_ready, place), command, deadline, abandoned)

    def _settle_in(self, known: MemberState) -> MemberState:
        chosen = ports.choose(self.recipe.ports, known.ports)
        return msgspec.structs.replace(known, ports=chosen, password=known.password or new_password())

    def _launch(self, command: Command) -> None:
        ref, child = processes.launch(command, mark=self._mark)
        self._children[command.name] = child
        self._state.change(
            self.name, lambda known: msgspec.structs.replace(known, processes={**known.processes, command.name: ref})
        )

    def _await(self, ready: Callable[[], bool], command: Command, deadline: float, abandoned: threading.Event) -> None:
        while not ready():
            if (code := self._children[command.name].poll()) is not None:
                raise self._failed(command, f"ended with exit code {code} while starting")
            if time.monotonic() >= deadline:
                raise self._failed(command, f"did not answer within {self.recipe.patience:.0f} s")
            if abandoned.wait(0.1):
                raise StackFailed(f"{self.name}: start abandoned")

    def _failed(self, command: Command, what: str) -> StackFailed:
        return StackFailed(f"{self.name}: {command.name} {what}; the end of {command.log}:\n{last_lines(command.log)}")

    def _commands(self) -> list[Command]:
        place = self.place
        return list(self.recipe.commands(place)) if place.ports else []

    def _main_name(self) -> str:
        return self._commands()[-1].name

    def _forget(self) -> None:
        for child in self._children.values():
            child.wait(timeout=STOP_LIMIT)
        self._children.clear()
        if self._state.member(self.name).processes:
            self._state.change(self.name, lambda known: msgspec.structs.replace(known, processes={}))
