"""Train if there is no model yet, start a cluster, recognise pictures, show what came out."""

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.markup import escape

from facet.client.connection import Gateway, connect
from facet.client.pictures import Answer, PictureClient, Question
from facet.demo.pictures import TestPicture, held_out_digits, photographs
from facet.demo.report import Report
from facet.launcher.local_cluster import LocalCluster, run_cluster
from facet.launcher.plan import ClusterPlan
from facet.launcher.supervisor import Death
from facet.recognition.v1 import recognition_pb2
from services.common.errors import FacetError
from services.common.models.repository import ModelRepository
from services.common.settings import CommonSettings, read_settings

HOME: Final = Path(".facet/demo")
LEAST_ACCURACY: Final = 0.95
DIGITS: Final = "digits"
PHOTOGRAPHS: Final = "mobilenet_v2"

console = Console(highlight=False)


def main() -> None:
    """Exit 0 only if all of it worked."""
    try:
        passed = asyncio.run(_demo(_test_data()))
    except FacetError as error:
        console.print(f"[bold red]Error:[/] {escape(error.message)}")
        sys.exit(1)
    sys.exit(0 if passed else 1)


def _test_data() -> Path | None:
    folder = Path(os.environ.get("FACET_TEST_DATA", "../shared/data"))
    return folder if folder.is_dir() else None


async def _demo(test_data: Path | None) -> bool:
    settings = read_settings(CommonSettings, home=HOME)
    repository = ModelRepository.open(settings.models_url, settings.file_cache())
    if DIGITS not in repository.list_models():
        _facet("train", DIGITS, "--home", str(HOME), "--wait", "0")
    if test_data and PHOTOGRAPHS not in repository.list_models():
        _add_mobilenet(test_data)
    with tempfile.TemporaryDirectory(prefix="facet-demo-") as scratch:
        sets = [(DIGITS, held_out_digits(Path(scratch)), LEAST_ACCURACY)]
        if test_data:
            sets.append((PHOTOGRAPHS, photographs(test_data), 0.0))
        async with run_cluster(ClusterPlan(settings.home_path, port=0), _report_death) as cluster:
            gateway = await _started(cluster)
            passed = [await _recognise(gateway, *asked) for asked in sets]
            started = time.monotonic()
        console.print(f"All processes stopped in {time.monotonic() - started:.1f} s")
    return all(passed)


def _facet(*arguments: str) -> None:
    """Run the command in a process of its own, so that TensorFlow's memory goes with it."""
    done = subprocess.run([sys.executable, "-m", "facet.cli.app", *arguments], check=False)
    if done.returncode != 0:
        raise FacetError(f"facet {arguments[0]} failed")


def _add_mobilenet(test_data: Path) -> None:
    models = test_data / "models"
    _facet(
        *("models", "add", PHOTOGRAPHS, str(models / "mobilenet_v2_100_224_ptq.keras")),
        *("--labels", str(models / "imagenet_classes_1000.csv"), "--preprocessing", "tf"),
        *("--resize", "256", "--crop", "224", "--home", str(HOME)),
    )


async def _started(cluster: LocalCluster) -> str:
    started = time.monotonic()
    with console.status("Starting the cluster") as status:

        def progress(serving: list[str], missing: list[str]) -> None:
            status.update(f"Starting the cluster: {len(serving)} processes serve")

        gateway = await cluster.ready(progress)
    console.print(
        f"{len(cluster.pids)} processes serve after {time.monotonic() - started:.1f} s: "
        f"{', '.join(cluster.pids)}"
    )
    return gateway


def _report_death(death: Death) -> None:
    console.print(f"[yellow]{death.name} died[/] ({escape(death.reason)})")


async def _recognise(
    gateway: str, model: str, pictures: list[TestPicture], least_accuracy: float
) -> bool:
    question = Question(
        recognition_pb2.ModelSelector(name=model),
        recognition_pb2.RecognitionOptions(top_k=3, explain=True),
    )
    answers: list[Answer] = []
    started = time.monotonic()
    async with connect(Gateway(gateway)) as channel:
        client = PictureClient(Gateway(gateway), channel, question)
        with console.status(f"Recognising {len(pictures)} pictures with {model}"):
            answers += [
                answer async for answer in client.classify([picture.path for picture in pictures])
            ]
    report = Report(model, pictures, answers, time.monotonic() - started)
    report.print(console)
    return report.accuracy >= least_accuracy and not report.errors


if __name__ == "__main__":
    main()
