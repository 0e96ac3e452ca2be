"""Settings of an inference shard."""

from typing import Literal

from pydantic import Field

from services.common.settings import ServiceSettings


class InferenceSettings(ServiceSettings):
    """Each is also the environment variable FACET_<NAME>."""

    engine: Literal["auto", "litert", "tensorflow", "jax"] = "auto"
    """What runs the models; auto: the first of these that is installed and can run the version."""
    threads: int = Field(default=1, ge=1)
    """CPU threads of one batch."""
    max_batch: int = Field(default=32, ge=1, le=1024)
    """Images in the largest batch; every power of two up to it is warmed."""
    keep_versions: int = Field(default=2, ge=1)
    """How many of a model's newest versions are loaded though nobody asks for them."""
    model_memory_bytes: int = Field(default=0, ge=0)
    """Memory for models; what does not fit is loaded when it is asked for. 0: half of the machine's
    (or of the container's), which several shards of one machine share."""
