"""The table for people, and the figures for programs."""

from dataclasses import asdict, dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.scheduling.outcome import Outcome
from benchmarks.scheduling.scenarios import MIXED_64, OVERLOAD, TENANTS, Scenario
from benchmarks.scheduling.simulation import OTHERS, PORTIONS, PRODUCTION, REFERENCE


@dataclass(slots=True)
class Result:
    """One scenario under all policies."""

    scenario: Scenario
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    highest: dict[str, float] = field(default_factory=dict)
    """The highest load with 99 % of requests in time, by policy; empty where not looked for."""
    by_delays: dict[float, float] = field(default_factory=dict)
    """`ratio` where messages take only that share of their time; empty where not looked for."""

    @property
    def ratio(self) -> float:
        """p99 of production over that of the reference."""
        return self.outcomes[PRODUCTION].p99_ms / max(self.outcomes[REFERENCE].p99_ms, 1e-9)

    @property
    def highest_ratio(self) -> float | None:
        """Highest load of production over that of the reference."""
        if not self.highest:
            return None
        return self.highest[PRODUCTION] / self.highest[REFERENCE]

    def as_json(self) -> dict[str, Any]:
        """The contract's keys first."""
        mine, reference = self.outcomes[PRODUCTION], self.outcomes[REFERENCE]
        return {
            "name": self.scenario.name,
            "p99_ms": mine.p99_ms,
            "reference_p99_ms": reference.p99_ms,
            "goodput": mine.goodput,
            "p99_ratio": self.ratio,
            "p99_ratio_by_delays": self.by_delays,
            "highest_load_ratio": self.highest_ratio,
            "highest_load": self.highest,
            "shards": self.scenario.shards,
            "load": self.scenario.load,
            "policies": {name: asdict(outcome) for name, outcome in self.outcomes.items()},
        }


def bars(results: list[Result], grants: float) -> list[tuple[str, float, str, bool]]:
    """Return each bar that these results can tell of: what, figure, bar, whether it is met."""
    found = []
    for result in results:
        name, mine = result.scenario.name, result.outcomes[PRODUCTION]
        if name == MIXED_64:
            found.append(
                ("p99 / reference, mixed-64", result.ratio, "<= 1.05", result.ratio <= 1.05)
            )
        if name == OVERLOAD:
            found.append(("useful work at 2x", mine.useful, ">= .95", mine.useful >= 0.95))
        if name == TENANTS:
            quiet = mine.quiet_in_slo
            found.append(("quiet tenant in SLO", quiet, "= 1", quiet >= 1.0))
        if (ratio := result.highest_ratio) is not None:
            found.append((f"highest load / reference, {name}", ratio, ">= .97", ratio >= 0.97))
    found.append(("grants/s, 512 shards", grants, ">= 20000", grants >= 20_000))
    return found


def show(results: list[Result], grants: float, small_grants: float, console: Console) -> None:
    """Print the tables, the ratio to the reference first."""
    table = Table(title="p99 ms (share of requests in SLO; not counting refused ones as answered)")
    for column in ("scenario", "p99 / ref.", PORTIONS, REFERENCE, PRODUCTION, *OTHERS):
        table.add_column(column, justify="left" if column == "scenario" else "right")
    for result in results:
        cells = [
            f"{outcome.p99_ms:.0f} ({outcome.in_slo:.1%})"
            if (outcome := result.outcomes.get(policy))
            else "-"
            for policy in (PORTIONS, REFERENCE, PRODUCTION, *OTHERS)
        ]
        load = f"{result.scenario.name} {result.scenario.load:.0%}"
        table.add_row(load, f"{result.ratio:.3f}", *cells)
    console.print(table)
    table = Table(title="highest load with 99 % of requests in SLO")
    for column in ("scenario", "/ ref.", REFERENCE, PRODUCTION, *OTHERS):
        table.add_column(column, justify="left" if column == "scenario" else "right")
    for result in results:
        if result.highest_ratio is not None:
            cells = [
                f"{result.highest[policy]:.2f}" if policy in result.highest else "-"
                for policy in (REFERENCE, PRODUCTION, *OTHERS)
            ]
            table.add_row(result.scenario.name, f"{result.highest_ratio:.3f}", *cells)
    if table.row_count:
        console.print(table)
    table = Table(title="bars")
    for column in ("what", "figure", "bar", ""):
        table.add_column(column)
    for what, figure, bar, met in bars(results, grants):
        table.add_row(what, f"{figure:,.3f}", bar, "met" if met else "[red]missed[/red]")
    console.print(table)
    for result in results:
        for factor, ratio in result.by_delays.items():
            console.print(
                f"p99 / reference, {result.scenario.name}, messages in {factor:.0%} of their "
                f"time: {ratio:.3f}"
            )
    console.print(f"grants/s, 2 shards, one image a request: {small_grants:,.0f}")
