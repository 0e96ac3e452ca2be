"""What a trained network makes of held-out pictures."""

from services.training.data.dataset import Dataset
from services.training.evaluation import scores_of
from services.training.reports.measures import Measures
from services.training.trainer import Trained


def held_out_loss(trained: Trained, dataset: Dataset) -> float:
    """The mean cross-entropy over the held-out pictures, nats."""
    scores = scores_of(trained.model, trained.normalisation, dataset.test_images)
    return Measures.of(scores, dataset.test_labels, dataset.labels).loss
