"""What every benchmark has in common for people: its options, its table and its JSON file."""

import argparse
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.measurement import Measurement


@dataclass(frozen=True, slots=True)
class Options:
    """What a user may choose."""

    seconds: float
    """Of each measurement."""
    json: Path | None
    tls: bool = False
    """TLS is measured beside plain text."""


def read_options(description: str, seconds: float, *, tls: bool = False) -> Options:
    """Return the options of the command line; `seconds` is the default.

    `tls`: there is an option --tls.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--seconds",
        type=float,
        default=seconds,
        help="seconds of each measurement (default: %(default)g)",
    )
    parser.add_argument("--json", type=Path, help="file for the figures")
    if tls:
        parser.add_argument(
            "--tls", action="store_true", help="measure TLS on all links beside plain text, too"
        )
    given = parser.parse_args()
    if given.seconds <= 0:
        parser.error("--seconds must be above 0")
    return Options(given.seconds, given.json, tls and given.tls)


def report(
    options: Options, title: str, lines: Mapping[str, str], figures: Mapping[str, object]
) -> None:
    """Print lines of name and text, the first of which is the verdict; write the figures."""
    table = Table(title=title, title_justify="left", show_header=False, box=None)
    for name, text in lines.items():
        table.add_row(name, text)
    Console(highlight=False).print(table)
    if options.json is not None:
        machine = {
            "cores": psutil.cpu_count(),
            "machine": platform.machine(),
            "python": platform.python_version(),
        }
        content = {**figures, "seconds": options.seconds, "machine": machine}
        options.json.write_text(json.dumps(content, indent=2) + "\n", "utf-8")


def cpu_us_per_image(measurements: Sequence[Measurement]) -> dict[str, float]:
    """Processor time of each process in microseconds an image, over all measurements."""
    images = sum(measurement.images for measurement in measurements)
    return {
        name: round(1e6 * sum(each.cpu_s[name] for each in measurements) / images, 1)
        for name in measurements[0].cpu_s
    }


def others_cores(measurements: Sequence[Measurement]) -> float:
    """Cores that other work on the machine took, on average: ratios are good where it is small."""
    return round(sum(each.others_cores for each in measurements) / len(measurements), 2)


def cpu_lines(costs: Mapping[str, float], what: str) -> dict[str, str]:
    """Lines of the table for what `cpu_us_per_image` returned."""
    lines = {f"CPU of {name}": f"{cost:,.0f} us {what}" for name, cost in costs.items()}
    return {**lines, "CPU in all": f"{sum(costs.values()):,.0f} us {what}"}
