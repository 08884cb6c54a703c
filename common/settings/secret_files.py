"""Secrets that are read again whenever they are needed, so that changing one needs no restart.

What came from the file that `<NAME>_FILE` names is read from there again; what was put together from such a secret (a
URL of user, password and host) is put together again. A file that can't be read just now, or holds what can't be one,
leaves the secret as it was.
"""

from collections.abc import Callable
from pathlib import Path

from pydantic import SecretStr

_FILE_LIMIT = 65536  # bytes; a file longer than this holds no setting


class FromFile(str):
    """A value that came from a file: never repeated in a sentence, whatever variable it was meant for."""

    path: Path

    def __new__(cls, path: Path) -> "FromFile":
        """Read it. Raises: OSError, ValueError."""
        value = super().__new__(cls, read_text(path))
        value.path = path
        return value


class FileSecret(SecretStr):
    """A secret from a file. `accept` raises ValueError for what can't be one."""

    def __init__(self, value: FromFile) -> None:
        super().__init__(str(value))
        self._path = value.path
        self.accept: Callable[[str], object] = str

    def get_secret_value(self) -> str:
        """Read the file again."""
        try:
            value = read_text(self._path)
            self.accept(value)
        except (OSError, ValueError):
            return self._secret_value
        self._secret_value = value
        return value


class DerivedSecret(SecretStr):
    """A secret that is put together from others each time."""

    def __init__(self, make: Callable[[], str]) -> None:
        super().__init__(make())
        self._make = make

    def get_secret_value(self) -> str:
        """Put it together again."""
        return self._make()


def read_text(path: Path) -> str:
    """Read a small text file without its last line end. Raises: OSError, ValueError."""
    # A pipe or a device could be read forever.
    if path.exists() and not path.is_file():
        raise ValueError("not a file")
    with path.open("rb") as file:
        text = file.read(_FILE_LIMIT + 1).decode().rstrip("\r\n")
    if not text:
        raise ValueError("an empty file")
    if len(text) > _FILE_LIMIT:
        raise ValueError("a file that is too long")
    return text
