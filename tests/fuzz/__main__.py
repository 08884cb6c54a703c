"""`make fuzz`: every target for some minutes, as many at a time as there are cores.

Exit code 1 if an input fails or takes longer than 20 s; the input is written to build/fuzz/.
"""

import argparse
import json
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from tests.fuzz.running import FOLDER, fuzz
from tests.fuzz.targets import TARGETS


def main() -> int:
    """Fuzz, print what came of it, and write build/fuzz.json."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--target", choices=TARGETS, action="append")
    parser.add_argument("--first", type=int, default=0, help="the number of the first input")
    arguments = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(max_workers=os.cpu_count(), max_tasks_per_child=1) as pool:
        run = partial(fuzz, first=arguments.first, seconds=60.0 * arguments.minutes)
        results = list(pool.map(run, arguments.target or TARGETS))
    FOLDER.with_suffix(".json").write_text(json.dumps(results, indent=2) + "\n")
    for result in results:
        print(
            f"{result['target']:10} {result['inputs']:>12,} inputs in {result['seconds']:.0f} s, the slowest "
            f"{result['slowest_ms']:.0f} ms: {result['failure'] or 'no failure'}"
        )
    return 1 if any(result["failure"] for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
