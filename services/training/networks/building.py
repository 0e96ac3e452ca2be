"""Networks by name. Each takes float32 pictures of 0 to 1 and gives a share for each class."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from services.common.errors import InvalidRequestError
from services.training.networks import own
from services.training.networks.cnn import cnn
from services.training.networks.resnet import resnet
from services.training.networks.rnn import rnn

NETWORKS: Final[Mapping[str, Callable[[tuple[int, int, int], int], Any]]] = {
    "cnn": cnn,
    "rnn": rnn,
    "resnet": resnet,
}


def build(architecture: str, shape: tuple[int, int, int], classes: int) -> Any:
    """Return an untrained keras.Model: one of NETWORKS, or a user's own as `module:function`.

    It takes float32 [n, *shape] of 0 to 1 and gives float32 [n, classes], shares that add up to
    1. Raises InvalidRequestError for an unknown architecture or for pictures that are too small
    for it, and (INVALID_NETWORK) when the user's function does not give such a model.
    """
    if ":" in architecture:
        return own.build(architecture, shape, classes)
    if architecture not in NETWORKS:
        raise InvalidRequestError(
            f"the model must be one of {', '.join(NETWORKS)} or module:function, "
            f"not {architecture!r}"
        )
    try:
        return NETWORKS[architecture](shape, classes)
    except ValueError as error:
        size = " x ".join(map(str, shape))
        raise InvalidRequestError(
            f"the pictures ({size}) are too small for the model {architecture}"
        ) from error
