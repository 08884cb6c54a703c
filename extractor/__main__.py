"""`python -m extractor`. It imports the rest late: each worker imports this module again, and needs little of that."""

from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run once; return the exit code."""
    from extractor import command

    return command.main(argv)


if __name__ == "__main__":
    raise SystemExit(main())
