import numpy as np
import pytest

from services.common.models.input_spec import InputSpec
from services.training import parity

SCORES = np.array([[0.2, 0.8, 0.0], [0.5, 0.25, 0.25]], np.float32)


def test_the_difference_is_a_share_of_the_largest_score() -> None:
    off = SCORES + np.float32(0.01)
    assert parity.difference(SCORES, SCORES) == 0
    assert parity.difference(SCORES, off) == pytest.approx(0.01, rel=1e-3)
    assert parity.difference(SCORES * 100, off * 100) == pytest.approx(0.0125, rel=1e-3)
    assert parity.difference(SCORES, SCORES[:1]) == float("inf")


def test_winners_must_be_the_same_up_to_the_tolerance() -> None:
    assert parity.same_winners(SCORES, SCORES)
    assert not parity.same_winners(SCORES, SCORES[:, ::-1])
    tied = np.array([[0.5, 0.5 - parity.TOLERANCE]], np.float32)
    assert parity.same_winners(tied, tied[:, ::-1])


@pytest.mark.parametrize("spec", [InputSpec(1, 1, 1), InputSpec(7, 5, 3)])
def test_probes_are_always_the_same_and_begin_with_the_real_ones(spec: InputSpec) -> None:
    real = np.full((2, *spec.shape), 7, np.uint8)
    images = parity.probe_images(spec, real)
    assert images.dtype == np.uint8
    assert images.shape[1:] == spec.shape
    np.testing.assert_array_equal(images[:2], real)
    np.testing.assert_array_equal(images[2:], parity.probe_images(spec))
