"""One frame of `facet top`: lines of text that fit a terminal of so many columns and rows."""

from collections.abc import Sequence
from typing import Final

from rich.text import Text

from facet.cli.columns import Column, lines, shortened
from facet.cli.figures import bar, duration, percent, rate, ratio, utilisation_style
from facet.cluster.v1 import cluster_pb2
from services.common.models.key import ModelKey

BAR: Final = 10
MODELS: Final = 3
"""Models that are shown where there is not room for all."""
LEAST_SHARDS: Final = 3
"""Models leave room for so many shards at least."""


def frame(
    cluster: cluster_pb2.Cluster, width: int, height: int, note: str = "", hint: str = ""
) -> list[Text]:
    """Return at most `height` lines of at most `width` columns.

    `note` says why the view may be an old one, `hint` what a person can do.
    """
    head = [*_header(cluster, width, hint), *_problems(cluster, note), Text()]
    room = max(height - len(head), 0)
    shards = [each for each in cluster.instances if each.service == "inference"]
    models = cluster.performance.models
    # A heading each, an empty line between them, and a line that says what was left out.
    whole = len(shards) + len(models) + 3
    shown = len(models) if whole <= room else min(len(models), MODELS)
    tail = _models(models, shown, width) if room - shown - 4 >= LEAST_SHARDS else []
    body = _shards(shards, room - len(tail) - (1 if tail else 0), width)
    fitting = [*head, *body, *([Text(), *tail] if tail else [])][:height]
    for line in fitting:
        line.truncate(width, overflow="ellipsis")
    return fitting


def _header(cluster: cluster_pb2.Cluster, width: int, hint: str) -> list[Text]:
    performance, requests = cluster.performance, cluster.performance.requests
    load = Text.assemble(
        "load ",
        (bar(performance.utilisation, BAR), utilisation_style(performance.utilisation)),
        f" {percent(performance.utilisation)}",
    )
    failed = sum(requests.failed.values())
    parts = [
        Text.assemble((rate(performance.images_per_s), "bold"), " images/s"),
        Text(f"of {rate(performance.capacity_images_per_s)}"),
        Text(f"headroom {rate(performance.headroom_images_per_s)}"),
        load,
        Text(f"waiting {performance.waiting_images}"),
        Text(f"requests {requests.in_hand}"),
        Text(f"errors {failed}", "red" if failed else ""),
        Text(f"shards {performance.shards}, wanted {performance.desired_shards}"),
        *([Text(hint, "dim")] if hint else []),
    ]
    rows = [Text(no_wrap=True)]
    for part in parts:
        if rows[-1] and rows[-1].cell_len + 3 + part.cell_len > width:
            rows.append(Text(no_wrap=True))
        rows[-1].append("   " if rows[-1] else "").append_text(part)
    return rows


def _problems(cluster: cluster_pb2.Cluster, note: str) -> list[Text]:
    said = [note] if note else []
    if not cluster.registry_reachable and cluster.instances:
        said.append("The registry is unreachable; this is its last view.")
    said += [f"Not ready: {missing}" for missing in cluster.missing]
    return [Text(each, "yellow", no_wrap=True) for each in said]


def _shards(shards: Sequence[cluster_pb2.Instance], room: int, width: int) -> list[Text]:
    """The busiest first, as many as there is room for."""
    if not shards or room <= 0:
        return []
    ordered = sorted(shards, key=lambda shard: (-shard.performance.utilisation, shard.id))
    shown = ordered if len(ordered) < room else ordered[: max(room - 2, 0)]
    rows = [_Row(shard, max(12, width // 4)) for shard in shown]
    table = lines(
        [
            Column("shard", [row.name for row in rows], right=False),
            Column("state", [row.state for row in rows], right=False, spare=7),
            Column("model", [row.model for row in rows], right=False, spare=1),
            Column("images/s", [row.images_per_s for row in rows]),
            Column("load", [row.load for row in rows], right=False),
            Column("batch", [row.batch for row in rows], spare=6),
            Column("a", [row.a for row in rows], spare=3),
            Column("c", [row.c for row in rows], spare=4),
            Column("pred/real", [row.predicted for row in rows], spare=2),
            Column("waiting", [row.waiting for row in rows], spare=5),
            Column("wasted", [row.wasted for row in rows], spare=8),
        ],
        width,
    )
    return [*table, *_more(len(ordered) - len(shown))]


class _Row:
    """One shard, by the version that takes most of it."""

    def __init__(self, shard: cluster_pb2.Instance, name_width: int) -> None:
        performance = shard.performance
        main = max(
            performance.models,
            key=lambda model: model.utilisation,
            default=cluster_pb2.ShardModelPerformance(),
        )
        fit = next(
            (model for model in shard.load.models if model.model == main.model),
            cluster_pb2.ModelLoad(),
        )
        others = len(performance.models) - 1
        up = shard.state == cluster_pb2.INSTANCE_STATE_SERVING
        name = str(ModelKey.from_message(main.model)) if performance.models else ""
        self.name = Text(shortened(shard.id, name_width))
        self.state = Text("serving", "green") if up else Text("unreachable", "red")
        self.model = Text(shortened(name, name_width) + (f" +{others}" if others > 0 else ""))
        self.images_per_s = Text(rate(performance.images_per_s))
        self.load = _load(performance.utilisation) if up else Text("unreachable", "red")
        self.batch = Text(f"{main.batch_images:.1f}" if main.batch_images else "")
        self.a = Text(duration(fit.slowness * fit.batch_us))
        self.c = Text(duration(fit.slowness * fit.image_us))
        self.predicted = Text(ratio(main.predicted_to_real))
        self.waiting = Text(str(shard.load.outstanding_images))
        self.wasted = Text(str(sum(shard.load.wasted_images.values())))


def _load(share: float) -> Text:
    return Text.assemble((bar(share, BAR), utilisation_style(share)), f" {percent(share):>5}")


def _models(models: Sequence[cluster_pb2.ModelPerformance], count: int, width: int) -> list[Text]:
    """Those that run most first."""
    ordered = sorted(models, key=lambda model: -model.images_per_s)[:count]
    if not ordered:
        return []
    names = [str(ModelKey.from_message(model.model)) for model in ordered]

    def rates(field: str) -> list[Text]:
        return [Text(rate(getattr(model, field))) for model in ordered]

    table = lines(
        [
            Column("model", [Text(shortened(name, max(12, width // 4))) for name in names], False),
            Column("shards", [Text(str(model.shards)) for model in ordered], spare=3),
            Column("images/s", rates("images_per_s")),
            Column("capacity", rates("capacity_images_per_s"), spare=1),
            Column("headroom", rates("headroom_images_per_s"), spare=2),
            Column("refused/s", rates("refused_images_per_s"), spare=4),
            Column("waiting", [Text(str(model.waiting_images)) for model in ordered]),
            Column("wait", [Text(duration(model.wait_us)) for model in ordered], spare=1),
        ],
        width,
    )
    return [*table, *_more(len(models) - len(ordered))]


def _more(count: int) -> list[Text]:
    return [Text(f"… and {count} more", "dim", no_wrap=True)] if count > 0 else []
