"""Figures, compared with scikit-learn's."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    log_loss,
    precision_recall_fscore_support,
    top_k_accuracy_score,
)

from services.training.reports.measures import Measures


@given(
    seed=st.integers(0, 2**32 - 1),
    classes=st.integers(2, 12),
    count=st.integers(1, 60),
)
def test_they_are_what_scikit_learn_says(seed: int, classes: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.dirichlet(np.ones(classes), count).astype(np.float32)
    truth = rng.integers(0, classes, count)
    measures = Measures.of(scores, truth, [f"class {number}" for number in range(classes)])
    named, every = scores.argmax(axis=1), list(range(classes))
    np.testing.assert_array_equal(measures.confusion, confusion_matrix(truth, named, labels=every))
    precision, recall, _, support = precision_recall_fscore_support(
        truth, named, labels=every, zero_division=0
    )
    assert [each.precision for each in measures.classes] == pytest.approx(precision)
    assert [each.recall for each in measures.classes] == pytest.approx(recall)
    assert [each.support for each in measures.classes] == support.tolist()
    assert measures.accuracy == pytest.approx(accuracy_score(truth, named))
    assert measures.images == count
    normalised = scores.astype(np.float64) / scores.sum(axis=1, dtype=np.float64)[:, np.newaxis]
    assert measures.loss == pytest.approx(log_loss(truth, normalised, labels=every), abs=1e-4)
    if classes > 5:
        top = top_k_accuracy_score(truth, scores, k=5, labels=every)
        assert measures.top_5_accuracy == pytest.approx(top)
    else:
        assert measures.top_5_accuracy is None


def test_a_loss_stays_finite() -> None:
    scores = np.array([[1, 0]], np.float32)
    assert Measures.of(scores, np.array([1]), ["a", "b"]).loss == pytest.approx(-np.log(1e-7))
