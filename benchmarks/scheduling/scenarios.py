"""The situations that every policy is put into."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks.scheduling.cluster import Trouble
from benchmarks.scheduling.workload import bursty, poisson, trace

Arrivals = Callable[[random.Random], Iterator[float]]


@dataclass(frozen=True, slots=True)
class Scenario:
    """One cluster under one load."""

    name: str
    shards: int
    load: float
    """Offered images as a share of what the whole cluster can run in full batches."""
    mixed: bool = False
    """Every other device is three times slower."""
    arrivals: Arrivals = poisson
    stale_s: float = 0.0
    """How old reports of load are; with four dispatchers."""
    troubles: tuple[Trouble, ...] = ()
    refuses: bool = False
    """The reference refuses what it cannot answer in time, too."""
    quiet_load: float = 0.0
    """Load of a second tenant, named quiet, in addition."""
    knee: bool = False
    """The highest load with 99 % of requests in time is looked for as well."""
    seconds: float = 1.0
    """Length of the run, relative."""
    slo_s: float = field(default=0.1)

    @property
    def slowness(self) -> list[float]:
        """Of each device."""
        return [3.0 if self.mixed and number % 2 else 1.0 for number in range(self.shards)]


MIXED_64: Final = "mixed-64"
OVERLOAD: Final = "overload"
TENANTS: Final = "tenants"


def scenarios(traces: Path | None) -> list[Scenario]:
    """All scenarios; `traces` is the folder of real arrivals, None leaves those out."""
    found = [
        Scenario("equal-8", 8, 0.85, knee=True),
        Scenario("mixed-8", 8, 0.75, mixed=True, knee=True),
        Scenario(MIXED_64, 64, 0.85, mixed=True, knee=True, seconds=0.5),
        Scenario("equal-512", 512, 0.85, seconds=0.1),
        Scenario("mixed-512", 512, 0.85, mixed=True, seconds=0.1),
        Scenario("bursty", 16, 0.6, mixed=True, arrivals=bursty, knee=True),
        Scenario("stale view", 8, 0.7, stale_s=0.05, knee=True),
        Scenario("gray shard", 16, 0.7, troubles=(Trouble(0, 0.5, slower=5.0),), knee=True),
        Scenario(
            "deaths",
            16,
            0.6,
            mixed=True,
            troubles=(Trouble(0, 0.3, dies=True), Trouble(5, 0.6, dies=True)),
            knee=True,
        ),
        Scenario(OVERLOAD, 16, 2.0, mixed=True, refuses=True),
        Scenario(TENANTS, 16, 2.0, mixed=True, refuses=True, quiet_load=0.2),
    ]
    if traces is not None:
        file = traces / "azure_llm_2023" / "AzureLLMInferenceTrace_conv.csv"
        found.insert(
            6, Scenario("trace", 16, 0.6, mixed=True, arrivals=lambda _: trace(file), knee=True)
        )
    return found
