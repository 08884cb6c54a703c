"""Write log lines without ever making anybody wait.

The caller only puts a line into a queue; a thread of its own writes, and may hang for as long as nobody reads the pipe.
What the queue has no room for, and what can't be written (the reader is gone, the disk is full) is dropped and counted.
"""

import atexit
import os
import select
import threading
from collections.abc import Callable
from queue import SimpleQueue

ROOM = 4 * 2**20
"""Bytes that may wait to be written: some twenty thousand lines."""
_LAST_WORDS = 1.0  # seconds that the end of the process waits for what is still to be written


class LogWriter:
    """The way of lines to one file descriptor; each text that it is given is one of them."""

    def __init__(self, descriptor: int, *, on_gap: Callable[[int], None], room: int = ROOM) -> None:
        """`on_gap` is told, by the writing thread, how many lines were dropped, once half of `room` is free again.

        What it logs is a line like others, and a queue that is still full would drop it, and the count with it.
        """
        self._descriptor = descriptor
        self._on_gap = on_gap
        self._room = room
        self._lines: SimpleQueue[bytes | None] = SimpleQueue()
        # Reentrant, as the queue is: in the middle of either the garbage collector may run what logs.
        self._counting = threading.RLock()
        self._waiting = 0
        self._dropped = self._told = 0
        self._is_torn = False
        self._thread = threading.Thread(target=self._run, name="log writer", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    @property
    def dropped(self) -> int:
        """How many lines nobody will ever see."""
        return self._dropped

    def write(self, text: str) -> int:
        """Take a line; never wait."""
        line = text.encode("utf-8", "backslashreplace")
        with self._counting:
            if self._waiting + len(line) > self._room:
                self._dropped += 1
                return len(text)
            self._waiting += len(line)
        self._lines.put(line)
        return len(text)

    def flush(self) -> None:
        """Do nothing: everything is on its way. (What writes logs expects a file.)"""

    def close(self) -> None:
        """Write what is left, for as long as that may take at the end of a process."""
        self._lines.put(None)
        self._thread.join(_LAST_WORDS)

    def _run(self) -> None:
        while (line := self._lines.get()) is not None:
            is_written = self._write(line)
            with self._counting:
                self._waiting -= len(line)
                self._dropped += not is_written
                has_room = self._waiting <= self._room // 2
            if is_written and has_room and (count := self._dropped - self._told):
                self._told += count
                self._on_gap(count)

    def _write(self, line: bytes) -> bool:
        """Write a line in one piece if possible: other processes write to the same pipe."""
        left = b"\n" + line if self._is_torn else line  # what comes after half a line is not its other half
        while left:
            try:
                written = os.write(self._descriptor, left)
            except BlockingIOError:  # whoever shares the pipe has made it so
                self._wait_for_room()
            except OSError:
                return False
            else:
                left = left[written:]
                self._is_torn = bool(left)
        return True

    def _wait_for_room(self) -> None:
        room = select.poll()
        room.register(self._descriptor, select.POLLOUT)
        room.poll()
