"""`python -m benchmarks.scheduling [--seconds N] [--delays FACTOR] [--json FILE]`"""

import argparse
import json
import os
from pathlib import Path

from rich.console import Console

from benchmarks.scheduling.report import Result, show
from benchmarks.scheduling.scenarios import MIXED_64, Scenario, scenarios
from benchmarks.scheduling.simulation import (
    OTHERS,
    PORTIONS,
    PRODUCTION,
    REFERENCE,
    highest_load,
    simulate,
)
from benchmarks.scheduling.throughput import grants_per_s, small_grants_per_s

ROOT = Path(__file__).resolve().parent.parent.parent
IN_TIME = 0.99
WIDTH = 170
DELAYS = (0.5, 0.2)
"""Shares of the messages' time that the bar on p99 is looked at with as well."""


def measure(scenario: Scenario, seconds: float, delays: float, *, knees: bool) -> Result:
    """Run one scenario under every policy, and look for the highest loads."""
    result = Result(scenario)
    length = seconds * scenario.seconds
    for policy in (PORTIONS, REFERENCE, PRODUCTION, *OTHERS):
        result.outcomes[policy] = simulate(
            scenario, policy, load=scenario.load, seconds=length, delays=delays
        )
    if scenario.name == MIXED_64:
        reference_ms = result.outcomes[REFERENCE].p99_ms  # it knows no messages
        for factor in DELAYS:
            quicker = simulate(
                scenario, PRODUCTION, load=scenario.load, seconds=length, delays=factor * delays
            )
            result.by_delays[factor] = quicker.p99_ms / reference_ms
    if knees and scenario.knee:
        few = scenario.shards <= 16
        for policy in (REFERENCE, PRODUCTION, *(OTHERS if few else ())):
            result.highest[policy] = highest_load(
                lambda load, policy=policy: (  # type: ignore[misc]
                    simulate(scenario, policy, load=load, seconds=length, delays=delays).in_slo
                    >= IN_TIME
                )
            )
    return result


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="benchmarks.scheduling", description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="virtual seconds a run")
    parser.add_argument(
        "--delays", type=float, default=1.0, help="messages take so many times their time"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--no-knees", action="store_true", help="leave out the highest loads")
    options = parser.parse_args()
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH)  # a file takes the whole table
    data = Path(os.environ.get("FACET_TEST_DATA", ROOT.parent / "shared" / "data"))
    traces = data / "traces"
    if not traces.is_dir():
        console.print(f"no real arrivals: there is no folder {traces}")
    results = []
    for scenario in scenarios(traces if traces.is_dir() else None):
        with console.status(f"{scenario.name}: {scenario.shards} shards"):
            results.append(
                measure(scenario, options.seconds, options.delays, knees=not options.no_knees)
            )
    grants = grants_per_s(min(5.0, options.seconds))
    small_grants = small_grants_per_s(min(5.0, options.seconds))
    show(results, grants, small_grants, console)
    if options.json:
        figures = {
            "scenarios": [result.as_json() for result in results],
            "grants_per_s": grants,
            "small_grants_per_s": small_grants,
        }
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
