"""Have a command end on SIGTERM as it does on Ctrl-C, with everything that it has begun."""

import signal
from types import FrameType


def stop_on_sigterm() -> None:
    """Let SIGTERM do what SIGINT does.

    In a loop that asyncio runs, that is to cancel the main task. An exception raised there by a handler would end
    whatever task is at work, come out of each that waits for it, and so leave the others' ends undone. A shell's
    background job inherits that SIGINT is ignored, and then asyncio would not heed it.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, _interrupt)


def _interrupt(_number: int, frame: FrameType | None) -> None:
    handler = signal.getsignal(signal.SIGINT)
    if not callable(handler):  # somebody has it ignored since
        raise KeyboardInterrupt
    handler(signal.SIGINT, frame)
