#!/usr/bin/env -S python3 -IS
"""Ask the service in this container how it is: `healthcheck live` or `healthcheck ready`.

Prints the answer, which names what is wrong, and exits with 0 if all is well. It runs every few seconds, so it starts
without what Python looks for elsewhere, and speaks HTTP itself: half of its time went into importing that.
"""

import os
import socket
import sys

PLACE = ("127.0.0.1", int(os.environ["METRICS_PORT"]))


def main() -> int:
    """Ask, print, judge."""
    try:
        with socket.create_connection(PLACE, timeout=3.0) as connection:
            connection.sendall(f"GET /health/{sys.argv[1]} HTTP/1.0\r\n\r\n".encode())
            head, _, body = b"".join(iter(lambda: connection.recv(65536), b"")).partition(b"\r\n\r\n")
    except OSError as error:
        print(f"no answer from {PLACE[0]}:{PLACE[1]}: {error}")
        return 1
    print(body.decode().strip())
    return 0 if head.split(b" ")[1:2] == [b"200"] else 1


if __name__ == "__main__":
    sys.exit(main())
