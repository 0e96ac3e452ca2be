"""One worker's copy of the network: it learns batches, together with the other copies."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

EVALUATION_BATCH: Final = 256
SEED_STATE: Final = "seed_generator_state"
"""What Keras calls the variable behind each random layer."""

Arrays = Sequence[npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class State:
    """All that a network has learned, and how its optimizer stands."""

    weights: Arrays
    optimizer: Arrays


class Learner:
    """Trains a keras.Model from uint8 pictures to shares [n, classes] with Adam.

    `build` returns the model; it is called in the scope of `strategy`, whose workers all hold one
    copy. Without a strategy there is this copy alone, and the code is the same.

    Gradients are those of the sum of losses over all workers' pictures, divided by the size of the
    global batch. Batch normalisation uses the statistics of the worker's own pictures; its moving
    averages are averaged over the workers after each step, so that copies stay equal.
    """

    def __init__(
        self,
        build: Callable[[], Any],
        learning_rate: float,
        total_steps: int,
        strategy: tf.distribute.Strategy | None = None,
    ) -> None:
        self._strategy = strategy or tf.distribute.get_strategy()
        with self._strategy.scope():
            self._model = build()
            # Half a cosine down to 0: https://arxiv.org/abs/1608.03983
            schedule = keras.optimizers.schedules.CosineDecay(learning_rate, total_steps)
            self._optimizer = keras.optimizers.Adam(schedule)
            self._optimizer.build(self._model.trainable_variables)
        self._loss = keras.losses.SparseCategoricalCrossentropy(reduction="none")
        variables = self._model.variables
        self._seeds = [each for each in variables if each.name == SEED_STATE]
        self._weights = [each for each in variables if each.name != SEED_STATE]
        self._averages = [
            each for each in self._model.non_trainable_variables if each.name != SEED_STATE
        ]
        pictures = tf.TensorSpec(self._model.inputs[0].shape, tf.uint8)
        labels = tf.TensorSpec((None,), tf.int64)
        numbers = (tf.TensorSpec((), tf.float32), tf.TensorSpec((2,), tf.uint32))
        self._step = tf.function(
            self._learn_everywhere, input_signature=(pictures, labels, *numbers)
        )
        self._measure = tf.function(self._evaluate_batch, input_signature=(pictures, labels))

    def learn(
        self,
        images: npt.NDArray[np.uint8],
        labels: npt.NDArray[np.int64],
        scale: float,
        chance: tuple[int, int],
    ) -> tuple[float, float, float]:
        """Learn this worker's part of a batch while the others learn theirs.

        `images` [n, height, width, channels] and `labels` [n], n >= 1; `scale` is 1 / the size of
        the global batch, or 0 for pictures that do not count; `chance` seeds the random layers.
        Returns the global batch's mean loss and accuracy before the step, and the learning rate.
        """
        rate = float(self._optimizer.learning_rate)
        loss, accuracy = self._step(
            images, labels, np.float32(scale), np.asarray(chance, np.uint32)
        )
        return float(loss), float(accuracy), rate

    def evaluate(
        self, images: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64]
    ) -> tuple[float, float]:
        """Return the mean loss and accuracy over pictures, learning nothing."""
        losses, hits = 0.0, 0.0
        for start in range(0, len(labels), EVALUATION_BATCH):
            part = slice(start, start + EVALUATION_BATCH)
            loss, right = self._measure(images[part], labels[part])
            losses += float(loss)
            hits += float(right)
        return losses / len(labels), hits / len(labels)

    def state(self) -> State:
        """Return a copy of all that was learned."""
        return State(_values(self._weights), _values(self._optimizer.variables))

    def restore(self, state: State) -> None:
        """Go on from a state of the same network; ValueError when it is another's."""
        _assign(self._weights, state.weights)
        _assign(self._optimizer.variables, state.optimizer)

    def digest(self) -> str:
        """Return a SHA-256 of the weights and the optimizer: equal copies have equal ones."""
        digest = hashlib.sha256()
        state = self.state()
        for value in (*state.weights, *state.optimizer):
            digest.update(np.ascontiguousarray(value).tobytes())
        return digest.hexdigest()

    def _learn_everywhere(self, images: Any, labels: Any, scale: Any, chance: Any) -> Any:
        return self._strategy.run(self._learn, (images, labels, scale, chance))

    def _learn(self, images: Any, labels: Any, scale: Any, chance: Any) -> tuple[Any, Any]:
        for seed in self._seeds:
            seed.assign(chance)
        with tf.GradientTape() as tape:
            shares = self._model(images, training=True)
            loss = tf.reduce_sum(self._loss(labels, shares)) * scale
        variables = self._model.trainable_variables
        # The optimizer adds up the gradients of all workers.
        self._optimizer.apply(tape.gradient(loss, variables), variables)
        hits = tf.reduce_sum(_hits(shares, labels)) * scale
        context = tf.distribute.get_replica_context()
        if context.num_replicas_in_sync > 1:
            mean = tf.distribute.ReduceOp.MEAN
            for average in self._averages:
                average.assign(context.all_reduce(mean, tf.identity(average)))
            loss, hits = context.all_reduce(tf.distribute.ReduceOp.SUM, [loss, hits])
        return loss, hits

    def _evaluate_batch(self, images: Any, labels: Any) -> tuple[Any, Any]:
        shares = self._model(images, training=False)
        return tf.reduce_sum(self._loss(labels, shares)), tf.reduce_sum(_hits(shares, labels))


def _hits(shares: Any, labels: Any) -> Any:
    return tf.cast(tf.equal(tf.argmax(shares, axis=1), labels), tf.float32)


def _values(variables: Sequence[Any]) -> Arrays:
    return [keras.ops.convert_to_numpy(variable) for variable in variables]


def _assign(variables: Sequence[Any], values: Arrays) -> None:
    if [tuple(each.shape) for each in variables] != [value.shape for value in values]:
        raise ValueError("the state is that of another network")
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
