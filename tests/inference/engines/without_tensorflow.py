"""A plugin of pytest: it runs as where TensorFlow is not installed.

python -m pytest -p tests.inference.engines.without_tensorflow ...
"""

from tests.inference.hiding import hide

hide("tensorflow")
