"""The simulator tells the truth, and the policy holds its bars in a short form."""

import json
import random
import subprocess
import sys
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest

from benchmarks.scheduling.cluster import Device, Trouble
from benchmarks.scheduling.events import Loop
from benchmarks.scheduling.scenarios import MIXED_64, OVERLOAD, TENANTS, Scenario, scenarios
from benchmarks.scheduling.simulation import (
    OTHERS,
    PRODUCTION,
    REFERENCE,
    arrivals,
    highest_load,
    simulate,
)
from benchmarks.scheduling.throughput import grants_per_s, small_grants_per_s
from benchmarks.scheduling.workload import bursty, poisson, trace

ROOT = Path(__file__).resolve().parent.parent.parent
POLICIES = (REFERENCE, PRODUCTION, *OTHERS)
BY_NAME = {scenario.name: scenario for scenario in scenarios(None)}
SMALL = Scenario("small", 4, 0.3)


def test_callbacks_run_in_the_order_of_their_times() -> None:
    loop = Loop()
    seen: list[tuple[float, str]] = []

    def note(name: str) -> None:
        seen.append((loop.now, name))

    loop.at(2.0, note, "second")
    loop.at(1.0, note, "first")
    loop.at(2.0, note, "third")
    loop.at(9.0, note, "never")
    loop.run(until=5.0)
    assert seen == [(1.0, "first"), (2.0, "second"), (2.0, "third")]
    assert loop.now == 5.0


def test_a_dead_device_finishes_nothing() -> None:
    loop = Loop()
    device = Device("s", 1.0, loop, random.Random(1))
    done: list[float] = []
    device.run(8, done.append)
    device.dead = True
    loop.run(until=1.0)
    assert done == []


@pytest.mark.parametrize("process", [poisson, bursty])
def test_arrivals_have_a_mean_rate_of_one(process: object) -> None:
    assert callable(process)
    times = list(islice(process(random.Random(1)), 50_000))
    assert times == sorted(times)
    assert times[-1] / len(times) == pytest.approx(1.0, rel=0.1)


def test_real_arrivals_have_a_mean_rate_of_one(test_data: Path) -> None:
    file = test_data / "traces" / "azure_llm_2023" / "AzureLLMInferenceTrace_conv.csv"
    times = list(trace(file))
    assert times == sorted(times)
    assert times[-1] == pytest.approx(len(times))


def test_every_policy_meets_the_same_requests() -> None:
    first, again = (arrivals(BY_NAME[TENANTS], 1.0, 1.0, seed=7) for _ in range(2))
    assert [(r.arrival, r.images, r.tenant) for r in first] == [
        (r.arrival, r.images, r.tenant) for r in again
    ]


@pytest.mark.parametrize("policy", POLICIES)
def test_a_run_is_repeatable(policy: str) -> None:
    first, again = (simulate(SMALL, policy, load=0.5, seconds=1.0) for _ in range(2))
    assert first == again


@pytest.mark.parametrize("policy", POLICIES)
def test_at_low_load_everything_is_answered(policy: str) -> None:
    outcome = simulate(SMALL, policy, load=0.2, seconds=3.0)
    assert outcome.requests > 20
    assert outcome.in_slo > 0.9
    assert outcome.useful == pytest.approx(outcome.in_slo, abs=0.1)


@pytest.mark.parametrize("policy", POLICIES)
def test_a_death_loses_nothing(policy: str) -> None:
    troubled = replace(SMALL, slo_s=5.0, troubles=(Trouble(0, 0.5, dies=True),))
    assert simulate(troubled, policy, load=0.4, seconds=3.0).in_slo == 1.0


def test_the_policy_is_close_to_the_reference() -> None:
    scenario = BY_NAME[MIXED_64]
    mine, reference = (
        simulate(scenario, policy, load=scenario.load, seconds=2.0)
        for policy in (PRODUCTION, REFERENCE)
    )
    assert mine.in_slo == 1.0
    assert mine.p99_ms < 1.2 * reference.p99_ms


def test_quicker_messages_bring_the_policy_closer_to_the_reference() -> None:
    scenario = BY_NAME[MIXED_64]
    slow, quick = (
        simulate(scenario, PRODUCTION, load=scenario.load, seconds=2.0, delays=delays).p50_ms
        for delays in (4.0, 0.2)
    )
    assert quick < slow


def test_twice_the_capacity_is_useful_work() -> None:
    outcome = simulate(BY_NAME[OVERLOAD], PRODUCTION, load=2.0, seconds=2.0)
    assert outcome.useful >= 0.95
    assert outcome.refused > 0.2


def test_a_quiet_tenant_does_not_feel_a_noisy_one() -> None:
    scenario = BY_NAME[TENANTS]
    assert simulate(scenario, PRODUCTION, load=scenario.load, seconds=2.0).quiet_in_slo == 1.0


def test_the_highest_load_is_found() -> None:
    assert highest_load(lambda load: load < 0.7) == pytest.approx(0.7, abs=0.01)


def test_the_core_makes_many_grants() -> None:
    # A tenth of the bar, since a test shares its processor; the benchmark measures it.
    assert grants_per_s(0.5) > 2_000
    assert small_grants_per_s(0.5) > 500


def test_the_command_writes_its_figures(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    command = [sys.executable, "-m", "benchmarks.scheduling", "--seconds", "0.2", "--no-knees"]
    subprocess.run(
        [*command, "--json", str(file)], cwd=ROOT, check=True, timeout=100, capture_output=True
    )
    figures = json.loads(file.read_text())
    assert figures["grants_per_s"] > 0
    assert figures["small_grants_per_s"] > 0
    for scenario in figures["scenarios"]:
        assert {"name", "p99_ms", "reference_p99_ms", "goodput"} <= scenario.keys()
