"""The options of `facet train`. None: not given, and the config file or the data set decides."""

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from facet.client.connection import Gateway

Data: TypeAlias = Annotated[
    str, typer.Argument(help="digits, mnist, or a folder with a sub-folder for each class.")
]
Model: TypeAlias = Annotated[
    str | None, typer.Option(help="cnn, rnn, resnet, or module:function.", show_default="cnn")
]
Name: TypeAlias = Annotated[
    str, typer.Option(help="Name to publish under.", show_default="that of the data")
]
Config: TypeAlias = Annotated[
    Path | None,
    typer.Option(help="TOML file with these options; what is given here wins.", dir_okay=False),
]

Epochs: TypeAlias = Annotated[int | None, typer.Option(help="Times that every picture is seen.")]
BatchSize: TypeAlias = Annotated[int | None, typer.Option(help="Pictures a step.")]
LearningRate: TypeAlias = Annotated[float | None, typer.Option(help="Of Adam, at the start.")]
Seed: TypeAlias = Annotated[int | None, typer.Option(help="Of weights and order.")]

Shift: TypeAlias = Annotated[
    float | None, typer.Option(help="Move training pictures at random: share of a side.")
]
Rotation: TypeAlias = Annotated[float | None, typer.Option(help="Turn them: degrees.")]
Zoom: TypeAlias = Annotated[float | None, typer.Option(help="Enlarge or reduce them: a share.")]
Flip: TypeAlias = Annotated[bool | None, typer.Option(help="Mirror them, left to right.")]
Contrast: TypeAlias = Annotated[float | None, typer.Option(help="Change contrast: a share.")]

ImageSize: TypeAlias = Annotated[
    int | None, typer.Option(help="Of a folder: pixels a side.", show_default="64")
]
Channels: TypeAlias = Annotated[
    int | None, typer.Option(help="Of a folder: 1 (grey) or 3 (RGB).", show_default="3")
]
DataFolder: TypeAlias = Annotated[
    str | None,
    typer.Option(help="Where the files of mnist lie.", show_default="in FACET_TEST_DATA"),
]

Workers: TypeAlias = Annotated[
    str,
    typer.Option(
        metavar="N | registry:N",
        help="Processes that learn together, each --batch-size pictures a step: N on this "
        "machine, or N of the `facet train-worker`s in the registry.",
    ),
]
Resume: TypeAlias = Annotated[
    bool, typer.Option("--resume", help="Go on with the unfinished training of that name.")
]
CheckpointEvery: TypeAlias = Annotated[
    float, typer.Option("--checkpoint-every", min=0.1, help="Seconds; also after each epoch.")
]
LogDir: TypeAlias = Annotated[
    Path | None,
    typer.Option(help="For TensorBoard.", show_default="logs/training/JOB in --home"),
]
MetricsFile: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        help="Keep a .prom file up to date, for the textfile collector of node_exporter.",
        show_default="none",
    ),
]

Publish: TypeAlias = Annotated[bool, typer.Option(help="Publish a version, or only measure.")]
Promote: TypeAlias = Annotated[
    bool | None,
    typer.Option(
        help="Let the version answer to the bare name.",
        show_default="if it is the first, or no worse than the promoted one",
    ),
]
WaitFor: TypeAlias = Annotated[
    Gateway,
    typer.Option(
        "--gateway",
        envvar="FACET_GATEWAY",
        help="HOST:PORT of the gateway that is to serve a promoted version.",
        show_default="the usual one, if it answers",
    ),
]
Wait: TypeAlias = Annotated[
    float, typer.Option(min=0, help="Seconds to wait for that gateway; 0: don't.")
]
