"""Triton, through pytriton: gRPC, an engine for each model instance, dynamic batches."""

import socket
from typing import Any, Final

import numpy as np
from pytriton.decorators import batch  # type: ignore[import-not-found]
from pytriton.model_config import (  # type: ignore[import-not-found]
    DynamicBatcher,
    ModelConfig,
    Tensor,
)
from pytriton.triton import Triton, TritonConfig  # type: ignore[import-not-found]

from benchmarks.peer_servers.recognizer import TOP_K, Recognizer, arguments

MAX_BATCH: Final = 8


def infer_function(recognizer: Recognizer) -> Any:
    """Return the function that one model instance calls with a batch."""

    @batch  # type: ignore[untyped-decorator]
    def infer(picture: Any) -> dict[str, Any]:
        answers = recognizer.recognize([row[0] for row in picture])
        return {
            "labels": np.array([[each.encode() for each in labels] for labels, _ in answers]),
            "scores": np.array([scores for _, scores in answers], np.float32),
        }

    return infer


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def main() -> None:
    """Serve until the process is killed."""
    port, engines, model, labels, state = arguments()
    config = TritonConfig(
        grpc_address="127.0.0.1",
        grpc_port=port,
        http_address="127.0.0.1",
        http_port=_free_port(),
        allow_metrics=False,
        log_verbose=0,
    )
    with Triton(config=config, workspace=state / "workspace") as triton:
        triton.bind(
            model_name="peer",
            infer_func=[infer_function(Recognizer(model, labels)) for _ in range(engines)],
            inputs=[Tensor(name="picture", dtype=bytes, shape=(1,))],
            outputs=[
                Tensor(name="labels", dtype=bytes, shape=(TOP_K,)),
                Tensor(name="scores", dtype=np.float32, shape=(TOP_K,)),
            ],
            config=ModelConfig(max_batch_size=MAX_BATCH, batcher=DynamicBatcher()),
        )
        triton.serve()


if __name__ == "__main__":
    main()
