"""Settings of the preprocessing service."""

from pydantic import Field

from services.common.settings import ServiceSettings
from services.preprocessing.confinement.memory import enough_bytes
from services.preprocessing.limits import MOST_PIXELS, Limits


class PreprocessingSettings(ServiceSettings):
    """Each is also the environment variable FACET_<NAME>."""

    threads: int = Field(default=2, ge=1)
    """Pictures that are decoded at the same time."""
    max_image_bytes: int = Field(default=Limits().max_bytes, ge=1)
    """Bytes of the largest encoded picture."""
    max_image_pixels: int = Field(default=Limits().max_pixels, ge=1, le=MOST_PIXELS)
    """Pixels of the largest picture, by its header, before anything is decoded."""
    decode_s: float = Field(default=8.0, gt=0)
    """Seconds that one picture may take; beyond, the process ends (see confinement/watchdog.py).
    A call that waits for 30 s has then time to find out which picture it was."""
    decoder_memory_bytes: int = Field(default=0, ge=0)
    """Memory that the process may take beyond what it has when it starts; a picture that needs
    more fails. 0: enough for `threads` of the largest pictures at once, and 1 GiB."""

    @property
    def decoder_memory(self) -> int:
        """`decoder_memory_bytes`, or its default."""
        return self.decoder_memory_bytes or enough_bytes(self.threads, self.max_image_pixels)
