"""A stretch of wire that takes its time and loses packets: `python -m benchmarks.hosts.wire`.

It carries frames between two interfaces of its network namespace, each way on its own. The
kernels of virtual machines often come without netem, which would do the same.
"""

import argparse
import random
import selectors
import socket
import time
from collections import deque
from typing import Final

ETH_P_ALL: Final = 0x0003
SOL_PACKET: Final = 263
PACKET_VNET_HDR: Final = 15
"""Each frame comes with a virtio_net_hdr, which says what of its checksum is still missing."""
PACKET_IGNORE_OUTGOING: Final = 23
FRAME_BYTES: Final = 70_000
"""More than the largest frame of a virtual interface."""
SEED: Final = 1


class Direction:
    """Frames from one interface to the other, in their order."""

    def __init__(self, source: socket.socket, target: socket.socket, delay_s: float) -> None:
        self.source = source
        self._target = target
        self._delay_s = delay_s
        self._under_way: deque[tuple[float, bytes]] = deque()

    def take(self, loss: float, chance: random.Random) -> None:
        """Take in a frame, or lose it."""
        frame = self.source.recv(FRAME_BYTES)
        if chance.random() >= loss:
            self._under_way.append((time.monotonic() + self._delay_s, frame))

    def deliver(self) -> float | None:
        """Send on what is due; return the seconds until there is more to do, None: nothing is."""
        while self._under_way:
            due, frame = self._under_way[0]
            if (left := due - time.monotonic()) > 0:
                return left
            self._under_way.popleft()
            try:
                self._target.send(frame)
            except OSError:  # an interface that is down or full loses frames, as any wire does
                continue
        return None


def _interface(name: str) -> socket.socket:
    raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    raw.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
    raw.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    raw.bind((name, ETH_P_ALL))
    return raw


def carry(first: str, second: str, delay_s: float, loss: float) -> None:
    """Carry frames until the process ends; says "ready" when it begins."""
    ends = _interface(first), _interface(second)
    directions = [Direction(ends[0], ends[1], delay_s), Direction(ends[1], ends[0], delay_s)]
    chance = random.Random(SEED)
    with selectors.DefaultSelector() as selector:
        for direction in directions:
            selector.register(direction.source, selectors.EVENT_READ, direction)
        print("ready", flush=True)  # noqa: T201  # for the process that waits for it
        while True:
            waits = [wait for each in directions if (wait := each.deliver()) is not None]
            for key, _ in selector.select(min(waits, default=None)):
                key.data.take(loss, chance)


def main() -> None:
    """Carry what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("interfaces", nargs=2)
    parser.add_argument("--delay", type=float, default=0.0, help="seconds, each way")
    parser.add_argument("--loss", type=float, default=0.0, help="share of the frames, each way")
    given = parser.parse_args()
    first, second = given.interfaces
    carry(first, second, given.delay, given.loss)


if __name__ == "__main__":
    main()
