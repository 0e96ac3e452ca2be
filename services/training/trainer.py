"""Trains a network on this machine and measures it on pictures that it never saw."""

import math
import time
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from services.common.errors import InvalidRequestError
from services.common.models.normalisation import Normalisation
from services.training.augmentation import augmented
from services.training.data.dataset import Dataset
from services.training.fusion import fuse
from services.training.history import EpochRecord
from services.training.networks.building import build
from services.training.progress import TrainingProgress
from services.training.settings import TrainingSettings

EVALUATION_BATCH = 256


@dataclass(frozen=True, slots=True)
class Trained:
    """A trained network."""

    model: Any
    """keras.Model from float32 pictures, normalised, to shares [n, classes]."""
    normalisation: Normalisation
    accuracy: float
    """Share of the held-out pictures that were recognised."""
    loss: float
    """Mean cross-entropy over the held-out pictures, nats."""
    history: tuple[EpochRecord, ...] = ()


def train(dataset: Dataset, settings: TrainingSettings, progress: TrainingProgress) -> Trained:
    """Train a new network with Adam on the training part of a data set.

    The learning rate falls to 0 along half a cosine (https://arxiv.org/abs/1608.03983). One seed on
    one machine gives one result, up to the rounding of threads that add in another order. Raises
    InvalidRequestError for an unknown architecture, and with TRAINING_DIVERGED when the loss is no
    longer a number.
    """
    keras.utils.set_random_seed(settings.seed)
    shape = dataset.shape
    network = build(settings.architecture, shape, len(dataset.labels))
    normalisation = Normalisation.custom((0.0,), 1 / 255)
    steps = settings.epochs * math.ceil(len(dataset.train_labels) / settings.batch_size)
    learner = _Learner(
        fuse(augmented(network, shape, settings), shape, normalisation),
        keras.optimizers.schedules.CosineDecay(settings.learning_rate, steps),
    )
    rng = np.random.default_rng(settings.seed)
    history = []
    for epoch in range(1, settings.epochs + 1):
        order = rng.permutation(len(dataset.train_labels))
        history.append(_learn_epoch(learner, dataset, order, epoch, settings, progress))
    loss, accuracy = learner.evaluate(dataset.test_images, dataset.test_labels)
    return Trained(network, normalisation, accuracy, loss, tuple(history))


class _Learner:
    def __init__(self, model: Any, learning_rate: Any) -> None:
        self._model = model
        self._loss = keras.losses.SparseCategoricalCrossentropy(reduction="none")
        self._optimizer = keras.optimizers.Adam(learning_rate)
        self._optimizer.build(model.trainable_variables)
        pictures = tf.TensorSpec(model.inputs[0].shape, tf.uint8)
        self._step = tf.function(
            self._learn, input_signature=(pictures, tf.TensorSpec((None,), tf.int64))
        )

    def learn(
        self, images: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64]
    ) -> tuple[float, float]:
        """Learn one batch; return its mean loss and accuracy before the step."""
        loss, accuracy = self._step(images, labels)
        return float(loss), float(accuracy)

    def evaluate(
        self, images: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64]
    ) -> tuple[float, float]:
        """Return the mean loss and accuracy over pictures, learning nothing."""
        losses, hits = 0.0, 0
        for start in range(0, len(labels), EVALUATION_BATCH):
            part = slice(start, start + EVALUATION_BATCH)
            shares = self._model(images[part], training=False)
            losses += float(tf.reduce_sum(self._loss(labels[part], shares)))
            hits += int((np.asarray(shares).argmax(axis=1) == labels[part]).sum())
        return losses / len(labels), hits / len(labels)

    def _learn(self, images: Any, labels: Any) -> tuple[Any, Any]:
        with tf.GradientTape() as tape:
            shares = self._model(images, training=True)
            loss = tf.reduce_mean(self._loss(labels, shares))
        variables = self._model.trainable_variables
        self._optimizer.apply(tape.gradient(loss, variables), variables)
        hits = tf.equal(tf.argmax(shares, axis=1), labels)
        return loss, tf.reduce_mean(tf.cast(hits, tf.float32))


def _learn_epoch(
    learner: _Learner,
    dataset: Dataset,
    order: npt.NDArray[np.int64],
    epoch: int,
    settings: TrainingSettings,
    progress: TrainingProgress,
) -> EpochRecord:
    started = time.monotonic()
    batches = np.array_split(order, range(settings.batch_size, len(order), settings.batch_size))
    losses, hits = 0.0, 0.0
    for step, batch in enumerate(batches, start=1):
        loss, accuracy = learner.learn(dataset.train_images[batch], dataset.train_labels[batch])
        if not np.isfinite(loss):
            raise InvalidRequestError(
                f"training diverged in epoch {epoch}, step {step}: the loss is {loss}. "
                f"Try a learning rate below {settings.learning_rate:g}",
                reason="TRAINING_DIVERGED",
            )
        losses += loss * len(batch)
        hits += accuracy * len(batch)
        progress.step(epoch=epoch, epochs=settings.epochs, step=step, steps=len(batches), loss=loss)
    loss, accuracy = losses / len(order), hits / len(order)
    progress.epoch(epoch=epoch, epochs=settings.epochs, loss=loss, accuracy=accuracy)
    seconds = time.monotonic() - started
    return EpochRecord(epoch, loss, accuracy, seconds, len(order) / seconds)
