from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from services.common.errors import ModelRefusedError
from services.common.models.golden import GoldenExamples

IMAGES = np.arange(24, dtype=np.uint8).reshape(2, 3, 4, 1)
SCORES = np.array([[0.25, 0.75], [1.0, 0.0]], np.float32)


def test_examples_survive_the_file(tmp_path: Path) -> None:
    stored = GoldenExamples(IMAGES, SCORES).save(tmp_path)
    assert stored.examples == 2
    read = GoldenExamples.load(stored.verify(tmp_path))
    np.testing.assert_array_equal(read.images, IMAGES)
    np.testing.assert_array_equal(read.scores, SCORES)


def test_the_tolerance_grows_with_the_scores(tmp_path: Path) -> None:
    shares = GoldenExamples(IMAGES, SCORES).save(tmp_path)
    logits = GoldenExamples(IMAGES, SCORES * 40).save(tmp_path)
    assert logits.tolerance == pytest.approx(40 * shares.tolerance)


def _answer(scores: npt.NDArray[np.float32], tolerance: float) -> float:
    return GoldenExamples(IMAGES, SCORES).check(lambda images: scores, tolerance)


def test_equal_scores_pass_with_their_difference() -> None:
    assert _answer(SCORES, 1e-3) == 0
    assert _answer(SCORES + np.float32(5e-4), 1e-3) == pytest.approx(5e-4, rel=1e-3)


def test_other_scores_are_refused_with_the_difference() -> None:
    wrong = SCORES.copy()
    wrong[1, 0] = 0.5
    with pytest.raises(ModelRefusedError, match=r"up to 0\.5 \(example 1, output 0\)"):
        _answer(wrong, 1e-3)


def test_scores_that_are_no_numbers_are_refused() -> None:
    wrong = SCORES.copy()
    wrong[0, 1] = np.nan
    with pytest.raises(ModelRefusedError, match="nan"):
        _answer(wrong, 1e-3)


def test_scores_of_another_shape_are_refused() -> None:
    with pytest.raises(ModelRefusedError, match=r"shape \(2, 2\).*\(2, 1\)"):
        _answer(SCORES[:, :1], 1e-3)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 torn", b"nonsense"])
def test_what_holds_no_examples_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "golden.npz"
    path.write_bytes(content)
    with pytest.raises(ModelRefusedError, match=r"golden\.npz"):
        GoldenExamples.load(path)


def test_code_in_the_file_is_never_run(tmp_path: Path) -> None:
    path = tmp_path / "golden.npz"
    np.savez(path, images=np.array([Path]), scores=SCORES)
    with pytest.raises(ModelRefusedError):
        GoldenExamples.load(path)
