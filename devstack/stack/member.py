"""One server or service of a stack: start it, stop it, kill it, see how it is."""

import subprocess
import threading
import time
from collections.abc import Callable
from enum import StrEnum
from functools import partial
from pathlib import Path

import msgspec

from devstack.stack import ports, processes
from devstack.stack.files import last_lines
from devstack.stack.launching import Command, launch
from devstack.stack.processes import ProcessRef
from devstack.stack.recipe import Place, Recipe, StackFailed
from devstack.stack.state import MemberState, StateFile, new_password

STOP_LIMIT = 60.0  # seconds: PostgreSQL's last checkpoint and a service's drain may need a good part of it
GIVE_UP_LIMIT = 2.0  # for one that never answered: RabbitMQ does not hear SIGTERM while it boots


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
        return self._state.member(self.name).processes.get(self.name)

    def worker(self) -> ProcessRef | None:
        """Return the process that does the work: of a supervised service not the supervisor; None if none runs."""
        process = self.process
        if process is None:
            return None
        if not self.recipe.supervised:
            return process if processes.is_running(process) else None
        return next((ref for ref in processes.marked(self._mark) if ref != process), None)

    def condition(self) -> Condition:
        """Look at the processes and ask the server."""
        known = self._state.member(self.name)
        if not known.ports:
            return Condition.ABSENT
        if not known.processes:
            return Condition.STOPPED
        running = [processes.is_running(ref) for ref in known.processes.values()]
        if not any(running):
            # A service outlives the supervisor that is killed alone; nobody would start it again.
            return Condition.PARTLY if processes.marked(self._mark) else Condition.DEAD
        if not all(running):
            return Condition.PARTLY
        return Condition.RUNNING if self._answers(self.place) else Condition.UNREADY

    def start(self, abandoned: threading.Event | None = None) -> None:
        """Start what is not running and wait until it answers. Raises: StackFailed, with everything stopped again."""
        if self.condition() is Condition.RUNNING:
            return
        self.stop()
        kept = ports.claimed()
        try:
            self._start(abandoned or threading.Event())
        except BaseException:
            self._end(GIVE_UP_LIMIT)
            raise
        finally:
            ports.release({*self.place.ports.values()} - kept)

    def stop(self) -> None:
        """Ask for a clean end, wait, and kill after a bound. Fine when nothing runs."""
        self._end(STOP_LIMIT)

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
        for command in self.recipe.commands(place):
            self._launch(command)
            if command.port is not None:
                self._await(partial(ports.is_listening, command.port), command, deadline, abandoned)
        self._await(partial(self._answers, place), command, deadline, abandoned)
        place.mark_of_use.touch()

    def _answers(self, place: Place) -> bool:
        """Tell whether it answers, and not a stranger on its port."""
        if not self.recipe.is_ready(place):
            return False
        own = processes.listening([*self._state.member(self.name).processes.values(), *processes.marked(self._mark)])
        return own is None or own >= set(place.ports.values())

    def _end(self, limit: float) -> None:
        for ref in reversed(self._state.member(self.name).processes.values()):
            processes.end(ref, self.recipe.stop_signal, timeout=limit)
        processes.end_remains(self._mark, timeout=limit)
        self._forget()

    def _settle_in(self, known: MemberState) -> MemberState:
        chosen = ports.choose(self.recipe.ports, known.ports)
        return msgspec.structs.replace(known, ports=chosen, password=known.password or new_password())

    def _launch(self, command: Command) -> None:
        ref, child = launch(command, mark=self._mark)
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

    def _forget(self) -> None:
        for child in self._children.values():
            child.wait(timeout=STOP_LIMIT)
        self._children.clear()
        if self._state.member(self.name).processes:
            self._state.change(self.name, lambda known: msgspec.structs.replace(known, processes={}))
