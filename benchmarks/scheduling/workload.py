"""Requests over time: at random, in bursts, or as a real service saw them.

Every process is drawn once for a mean rate of 1 and then compressed in time to the wanted load,
so that one seed gives the same pattern at every load and for every policy.
"""

import csv
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

MAX_IMAGES: Final = 64
MEAN_IMAGES: Final = (1 + MAX_IMAGES) / 2
BURST_RATE: Final = 2.0
BURST_SHARE: Final = 0.25
"""A quarter of the time the rate is twice the mean."""
BURST_REQUESTS: Final = 20.0
"""Mean length of a burst, in requests at the mean rate."""


@dataclass(slots=True, eq=False)
class Request:
    """One caller's request."""

    number: int
    arrival: float
    images: int
    deadline: float
    tenant: str = ""


def poisson(rng: random.Random) -> Iterator[float]:
    """Arrival times at a mean rate of 1."""
    now = 0.0
    while True:
        now += rng.expovariate(1.0)
        yield now


def bursty(rng: random.Random) -> Iterator[float]:
    """Arrival times of a Markov-modulated Poisson process with two states, mean rate 1."""
    quiet_rate = (1 - BURST_SHARE * BURST_RATE) / (1 - BURST_SHARE)
    quiet_length = BURST_REQUESTS * (1 - BURST_SHARE) / BURST_SHARE
    now, bursts, ends = 0.0, False, rng.expovariate(1 / quiet_length)
    while True:
        step = rng.expovariate(BURST_RATE if bursts else quiet_rate)
        if now + step < ends:
            now += step
            yield now
        else:  # memoryless: draw anew from the change of state on
            now, bursts = ends, not bursts
            ends += rng.expovariate(1 / (BURST_REQUESTS if bursts else quiet_length))


def trace(file: Path) -> Iterator[float]:
    """Arrival times of a CSV with a TIMESTAMP column, at a mean rate of 1; ends with the file."""
    with file.open(newline="") as rows:
        stamps = [
            datetime.fromisoformat(row["TIMESTAMP"][:26]).timestamp()
            for row in csv.DictReader(rows)
        ]
    first, last = stamps[0], stamps[-1]
    scale = len(stamps) / (last - first)
    return (scale * (stamp - first) for stamp in stamps)


def requests(
    arrivals: Iterator[float],
    *,
    images_per_s: float,
    seconds: float,
    slo_s: float,
    rng: random.Random,
    tenant: str = "",
) -> list[Request]:
    """Compress arrivals to so many images a second; sizes are uniform in 1 to MAX_IMAGES."""
    rate = images_per_s / MEAN_IMAGES
    made = []
    for number, unit_time in enumerate(arrivals):
        at = unit_time / rate
        if at > seconds:
            break
        made.append(Request(number, at, rng.randint(1, MAX_IMAGES), at + slo_s, tenant))
    return made
