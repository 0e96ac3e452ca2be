"""An ensemble of two members on two shards, against one member alone.

Two versions of MobileNetV2, one picture in flight. What runs at the same time should take as long
as one. The third side shows what that gains: the same ensemble on a cluster of one shard, where
the members can only run one after the other. Pictures are decoded once a request on all sides.
"""

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Final

from benchmarks.clusters import Cluster, cluster
from benchmarks.load import ClosedLoop, LoadPlan
from benchmarks.measurement import Measurement
from benchmarks.models import PAIR, PHOTOGRAPHS, ensemble_repository, test_data
from benchmarks.pairs import Pairs, measure_rounds, spread
from benchmarks.report import Options, others_cores, read_options, report
from benchmarks.requests import photographs, picture_requests
from benchmarks.workers import worker
from facet.launcher.plan import MALLOC_ENVIRONMENT

ROUNDS: Final = 7


def ensemble_requests() -> list[bytes]:
    """One request a photograph, for the ensemble."""
    return picture_requests(PAIR, photographs(test_data()))


def member_requests() -> list[bytes]:
    """The same for the newest of its members."""
    return picture_requests(PHOTOGRAPHS, photographs(test_data()))


def measure(seconds: float) -> tuple[Pairs, Pairs]:
    """Return the ensemble and a member alone, and the ensemble on one shard and the member."""
    models = ensemble_repository()
    os.environ.update(MALLOC_ENVIRONMENT)  # of the worker processes
    with ExitStack() as running:
        two = running.enter_context(cluster(models))
        one = running.enter_context(cluster(models, {"inference": 1}))

        def client(
            of: Cluster, requests: Callable[[], Sequence[bytes]]
        ) -> Callable[[float], Measurement]:
            plan = LoadPlan(of.gateway, requests, 1, 1, {**two.pids, **_renamed(one)})
            return running.enter_context(worker(partial(ClosedLoop, plan))).run

        sides = (
            client(two, ensemble_requests),
            client(two, member_requests),
            client(one, ensemble_requests),
        )
        together, alone, in_turn = measure_rounds(sides, seconds, ROUNDS)
        if two.deaths or one.deaths:
            raise RuntimeError(f"processes died: {two.deaths + one.deaths}")
    return Pairs(together, alone), Pairs(in_turn, alone)


def _renamed(other: Cluster) -> dict[str, int]:
    return {f"{name} of the other cluster": pid for name, pid in other.pids.items()}


def _p50(measurement: Measurement) -> float:
    return measurement.percentile_ms(50)


def _p99(measurement: Measurement) -> float:
    return measurement.percentile_ms(99)


def tell(options: Options, together: Pairs, in_turn: Pairs) -> None:
    """Print and write the figures."""
    ratio, ratio_p99, turns = together.ratio(_p50), together.ratio(_p99), in_turn.ratio(_p50)
    ensemble_p50, ensemble_p99 = spread(together.ours, _p50), spread(together.ours, _p99)
    single_p50, single_p99 = spread(together.reference, _p50), spread(together.reference, _p99)
    in_turn_p50 = spread(in_turn.ours, _p50)
    others = others_cores([*together.ours, *together.reference, *in_turn.ours])
    report(
        options,
        "ensemble: two MobileNetV2 on two shards against one of them, one picture at a time",
        {
            "ratio at p50": ratio.text(2),
            "ratio at p99": ratio_p99.text(2),
            "ratio of one after the other": turns.text(2),
            "p50 of the ensemble": ensemble_p50.text(1, "ms"),
            "p50 of a member alone": single_p50.text(1, "ms"),
            "p50 of one after the other": in_turn_p50.text(1, "ms"),
            "p99 of the ensemble": ensemble_p99.text(1, "ms"),
            "p99 of a member alone": single_p99.text(1, "ms"),
            "other work on the machine": f"{others:.2f} cores",
        },
        {
            "ratio": ratio.median,
            "ratio_spread": [ratio.low, ratio.high],
            "ratio_p99": ratio_p99.median,
            "in_turn_ratio": turns.median,
            "ensemble_p50_ms": ensemble_p50.median,
            "ensemble_p99_ms": ensemble_p99.median,
            "single_p50_ms": single_p50.median,
            "single_p99_ms": single_p99.median,
            "in_turn_p50_ms": in_turn_p50.median,
            "others_cores": others,
            "rounds": len(together.ours),
        },
    )


def main() -> None:
    """Measure and tell."""
    options = read_options("ensemble: two members at the same time against one", seconds=4.0)
    tell(options, *measure(options.seconds))


if __name__ == "__main__":
    main()
