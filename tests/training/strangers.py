"""Makes the files that a cluster's test adds; run as a process of its own.

python -m tests.training.strangers FOLDER
"""

import sys
from pathlib import Path

import tensorflow as tf

from tests.training.keras_models import row_reader
from tests.training.saved_models import export
from tests.training.tflite_models import net, quantised

if __name__ == "__main__":
    target = Path(sys.argv[1])
    export(row_reader(), target / "rows")
    (target / "net.tflite").write_bytes(quantised(net(), -1, 1, tf.int8))
