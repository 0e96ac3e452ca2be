"""LitServe: HTTP, a worker process for each engine, batches of what waits."""

from pathlib import Path
from typing import Annotated, Any, Final

import litserve  # type: ignore[import-not-found]
from fastapi import Body  # type: ignore[import-not-found]

from benchmarks.peer_servers.recognizer import Recognizer, arguments

MAX_BATCH: Final = 8
BATCH_TIMEOUT_S: Final = 0.005
"""With none at all its loop asks the queue without a pause, and takes a core for that."""


class Api(litserve.LitAPI):
    """JPEG bytes in the body; labels and scores as JSON."""

    def __init__(self, model: Path, labels: Path) -> None:
        super().__init__(max_batch_size=MAX_BATCH, batch_timeout=BATCH_TIMEOUT_S)
        self._files = model, labels

    def setup(self, device: str) -> None:
        """Load the engine, in the worker."""
        self._recognizer = Recognizer(*self._files)

    def decode_request(self, request: Annotated[bytes, Body()]) -> bytes:
        """Return the encoded picture."""
        return request

    def batch(self, inputs: list[bytes]) -> list[bytes]:
        """Pictures stay as they are until they are decoded together."""
        return inputs

    def predict(self, pictures: list[bytes]) -> list[tuple[list[str], list[float]]]:
        """Recognise a batch."""
        return self._recognizer.recognize(pictures)

    def unbatch(self, output: Any) -> Any:
        """Return the answers as they are: one a picture."""
        return output

    def encode_response(self, output: tuple[list[str], list[float]]) -> dict[str, Any]:
        """Return the body of the answer."""
        labels, scores = output
        return {"labels": labels, "scores": scores}


def main() -> None:
    """Serve until the process is killed."""
    port, engines, model, labels, _ = arguments()
    server = litserve.LitServer(
        Api(model, labels), accelerator="cpu", devices=1, workers_per_device=engines
    )
    server.run(host="127.0.0.1", port=port, generate_client_file=False, log_level="warning")


if __name__ == "__main__":
    main()
