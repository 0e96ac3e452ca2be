"""Makes what a cluster's test serves; run as a process of its own.

FOLDER gets `net.tflite`, of int8, and `models`, a repository with an LSTM that came as a
SavedModel and that LiteRT cannot run.

python -m tests.training.strangers FOLDER
"""

import sys
from pathlib import Path

import tensorflow as tf

from services.common.models.normalisation import Normalisation
from services.common.models.repository import ModelRepository
from tests.training.adding import add_model
from tests.training.keras_models import row_reader
from tests.training.saved_models import export
from tests.training.tflite_models import net, quantised

if __name__ == "__main__":
    target = Path(sys.argv[1])
    add_model(
        ModelRepository(target / "models"),
        "rows",
        export(row_reader(), target / "rows"),
        normalisation=Normalisation.custom((0.0,), 1 / 255),
    )
    (target / "net.tflite").write_bytes(quantised(net(), -1, 1, tf.int8))
