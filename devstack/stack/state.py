"""What a stack remembers between two commands: ports, passwords and processes, in one private file."""

import secrets
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec

from common.errors import StartRefused
from devstack.stack.files import write_private
from devstack.stack.processes import ProcessRef


class MemberState(msgspec.Struct, frozen=True, kw_only=True):
    """One server or service: ports by purpose, its password, its processes by name in the order of their start."""

    ports: dict[str, int] = {}
    password: str = ""
    processes: dict[str, ProcessRef] = {}


class StackState(msgspec.Struct, frozen=True):
    """All members by name."""

    members: dict[str, MemberState] = {}


class StateFile:
    """The file `stack.json`; members of one stack change their part of it from several threads."""

    def __init__(self, home: Path) -> None:
        self._path = home / "stack.json"
        self._lock = threading.Lock()

    def exists(self) -> bool:
        """Tell whether the stack was ever started here."""
        return self._path.exists()

    def member(self, name: str) -> MemberState:
        """Return what is known of a member; ports and processes are empty before its first start."""
        return self._read().members.get(name, MemberState())

    def names(self) -> list[str]:
        """Return the members that were ever started."""
        return list(self._read().members)

    def change(self, name: str, change: Callable[[MemberState], MemberState]) -> MemberState:
        """Replace a member's part."""
        with self._lock:
            state = self._read()
            changed = change(state.members.get(name, MemberState()))
            content = msgspec.json.encode(StackState({**state.members, name: changed}))
            write_private(self._path, msgspec.json.format(content, indent=2))
            return changed

    def _read(self) -> StackState:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=StackState)
        except FileNotFoundError:
            return StackState()
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            raise StartRefused(
                f"{self._path} is not a stack's state ({error}); remove the folder or name another"
            ) from error


def new_password() -> str:
    """Return a password that needs no quoting in a URL, a shell or a configuration file."""
    return secrets.token_hex(16)
