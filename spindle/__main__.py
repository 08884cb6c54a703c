"""`python -m spindle`, the same as `spindle`."""

import sys

from spindle.cli import main

if __name__ == "__main__":
    sys.exit(main())
