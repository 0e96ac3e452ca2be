"""JAX, which shares no process with TensorFlow: Keras is on one of them."""

import subprocess
import sys

import pytest

from services.common.errors import ModelRefusedError
from services.common.models.repository import ModelRepository
from services.inference.engines.loading import load_version
from services.inference.engines.selection import ENGINES
from tests.conftest import ROOT
from tests.fixtures_models import digits_repository  # noqa: F401

TIMEOUT_S = 250.0


@pytest.mark.timeout(TIMEOUT_S + 30)
def test_jax_keeps_what_engines_promise_where_tensorflow_is_not_installed(
    digits_repository: ModelRepository,  # noqa: F811  # made here, with TensorFlow
) -> None:
    folder = "tests/inference/engines"
    run = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-p", "tests.inference.engines.without_tensorflow"),
            *(f"{folder}/{name}.py" for name in ("test_engines", "test_loading", "jax_only")),
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert run.returncode == 0, run.stdout


def test_a_process_that_runs_keras_on_tensorflow_refuses_jax(
    digits_repository: ModelRepository,  # noqa: F811
) -> None:
    load_version(
        digits_repository, "digits", 1, batch_sizes=[1], preference="tensorflow"
    ).engine.close()
    with pytest.raises(ModelRefusedError, match=r"runs Keras on tensorflow.* not on jax"):
        load_version(digits_repository, "digits", 1, batch_sizes=[1], preference="jax")


def test_nothing_is_set_up_before_a_version_is_loaded() -> None:
    modules = ", ".join(kind.__module__ for kind in ENGINES.values())
    program = (
        f"import os, sys; before = dict(os.environ); import {modules}; "
        "print(before == dict(os.environ), *{'jax', 'keras', 'tensorflow'} & sys.modules.keys())"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert run.stdout.split() == ["True"]
