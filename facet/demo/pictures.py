"""The pictures of the demo, with what they show."""

import csv
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from services.training.data.digits import load_digits_dataset


@dataclass(frozen=True, slots=True)
class TestPicture:
    """A picture file and the label that is right."""

    path: Path
    label: str


def held_out_digits(folder: Path) -> list[TestPicture]:
    """Write the digits that training never saw into a folder, as PNG files."""
    dataset = load_digits_dataset()
    pictures = []
    for number, (pixels, label) in enumerate(
        zip(dataset.test_images, dataset.test_labels, strict=True)
    ):
        path = folder / f"{number:04}.png"
        Image.fromarray(pixels[..., 0]).save(path)
        pictures.append(TestPicture(path, dataset.labels[label]))
    return pictures


def photographs(test_data: Path) -> list[TestPicture]:
    """Return the labelled photographs of the test data."""
    folder = test_data / "images" / "imagenet_train_sample"
    with (folder / "labels.csv").open(encoding="utf-8", newline="") as rows:
        return [TestPicture(folder / row["file"], row["label"]) for row in csv.DictReader(rows)]
