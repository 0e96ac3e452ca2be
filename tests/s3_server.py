"""A real S3 server (moto) as a process: python -m tests.s3_server PORT

It reads commands from standard input and answers each with the command itself: `start` and `stop`
(it listens no more, and keeps what it holds). It ends when its standard input does.
"""

import logging
import sys
from typing import Final

from moto.server import ThreadedMotoServer

HOST: Final = "127.0.0.1"


def main() -> None:
    """Obey until the end of standard input."""
    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    port = int(sys.argv[1])
    server = ThreadedMotoServer(HOST, port, verbose=False)
    for command in map(str.strip, sys.stdin):
        if command == "start":
            server = ThreadedMotoServer(HOST, port, verbose=False)
            server.start()
        elif command == "stop":
            server.stop()
        sys.stdout.write(f"{command}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
