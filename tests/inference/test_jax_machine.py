"""A real shard on a machine that has JAX, and neither TensorFlow nor LiteRT."""

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import grpc
import numpy as np
import pytest

from facet.inference.v1 import inference_pb2, inference_pb2_grpc
from services.common.models.key import ModelKey
from services.common.models.normalisation import Normalisation
from services.common.models.repository import ModelRepository
from services.common.registry import Instance, open_registry
from services.common.tensors import to_array
from services.training.adding import Choices, add_model
from tests.conftest import ROOT
from tests.fixtures_models import digits_repository  # noqa: F401

LOADING_S = 90.0
CALL_S = 30.0


@pytest.fixture
def repository(
    digits_repository: ModelRepository,  # noqa: F811
    tmp_path: Path,
) -> ModelRepository:
    """The trained digits, and an LSTM, which LiteRT cannot run."""
    from tests.training.keras_models import row_reader, save  # it takes seconds to import

    shutil.copytree(digits_repository.root, tmp_path / "models")
    repository = ModelRepository(tmp_path / "models")
    add_model(
        repository,
        "rows",
        save(row_reader(), tmp_path),
        Choices(normalisation=Normalisation.custom((0.0,), 1 / 255)),
    )
    return repository


@asynccontextmanager
async def jax_machine(home: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, Instance]]:
    """The shard's process, once it serves; what it says goes to `home`/log."""
    settings = {"FACET_HOME": str(home), "FACET_MAX_BATCH": "4"}
    inherited = {name: value for name, value in os.environ.items() if "FACET_" not in name}
    with (home / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.inference.jax_machine"),
            stdout=log,
            stderr=log,
            cwd=ROOT,
            env=inherited | settings,
        )
    registry = open_registry((home / "registry").as_uri())
    try:
        async with asyncio.timeout(LOADING_S):
            instance = await anext(
                view.instances[0] async for view in registry.watch("inference") if view.instances
            )
        yield process, instance
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        await registry.close()


async def test_it_serves_what_was_published_with_tensorflow(
    repository: ModelRepository, tmp_path: Path
) -> None:
    async with jax_machine(tmp_path) as (process, instance):
        async with grpc.aio.insecure_channel(instance.address) as channel:
            stub = inference_pb2_grpc.InferenceServiceStub(channel)
            watch = stub.WatchShard(inference_pb2.WatchShardRequest(), timeout=CALL_S)
            report = await watch.read()
            watch.cancel()
            assert not report.refused
            assert {model.model.name: model.engine for model in report.models} == {
                "digits": "jax",
                "rows": "jax",
            }
            for name in ("digits", "rows"):
                await check_golden_examples(stub, repository, ModelKey(name, 1))
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), CALL_S) == 0
    (line,) = [
        line
        for line in (tmp_path / "log").read_text().splitlines()
        if "falls back" in line and "rows:1" in line
    ]
    assert "litert needs a litert artefact; tensorflow needs tensorflow to be installed" in line


async def check_golden_examples(
    stub: inference_pb2_grpc.InferenceServiceStub,
    repository: ModelRepository,
    key: ModelKey,
) -> None:
    """The shard gives a version's examples the scores that TensorFlow gave them."""
    golden = repository.golden_examples(repository.load_manifest(*key))
    request = inference_pb2.InferRequest(
        timeout_ms=int(CALL_S * 1000),
        grant_id=str(key),
        grant_parts=1,
        model=key.to_message(),
        pieces=[
            inference_pb2.Piece(
                piece_id=1, images=len(golden.images), pixels=[golden.images.tobytes()]
            )
        ],
    )
    stream = stub.Infer(timeout=CALL_S)
    await stream.write(request)
    response = await stream.read()
    stream.cancel()
    assert isinstance(response, inference_pb2.InferResponse)
    (output,) = response.outputs
    np.testing.assert_allclose(to_array(output.scores), golden.scores, atol=1e-4)
