#!/usr/bin/env python3
"""Ask the service in this container how it is: `healthcheck live` or `healthcheck ready`.

Prints the answer, which names what is wrong, and exits with 0 if all is well.
"""

import http.client
import os
import sys


def main() -> int:
    """Ask, print, judge."""
    connection = http.client.HTTPConnection("127.0.0.1", int(os.environ["METRICS_PORT"]), timeout=3.0)
    try:
        connection.request("GET", f"/health/{sys.argv[1]}")
        answer = connection.getresponse()
        print(answer.read().decode().strip())
    except (OSError, http.client.HTTPException) as error:
        print(f"no answer from {connection.host}:{connection.port}: {error}")
        return 1
    return 0 if answer.status == http.HTTPStatus.OK else 1


if __name__ == "__main__":
    sys.exit(main())
