"""What a process's exit code says, for a person."""

import signal


def how_it_ended(exit_code: int | None) -> str:
    """A sentence's part about a process that could say nothing itself; as of `subprocess`, a signal's are negative."""
    if exit_code is None or exit_code >= 0:
        return f"its process ended with exit code {exit_code}"
    try:
        name = signal.Signals(-exit_code).name
    except ValueError:
        name = f"signal {-exit_code}"
    hint = " (as the kernel does if memory runs out)" if name == "SIGKILL" else ""
    return f"its process was killed by {name}{hint}"
