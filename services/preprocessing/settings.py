"""Settings of the preprocessing service."""

from pydantic import Field

from services.common.settings import ServiceSettings
from services.preprocessing.limits import MOST_PIXELS, Limits


class PreprocessingSettings(ServiceSettings):
    """Each is also the environment variable FACET_<NAME>."""

    threads: int = Field(default=2, ge=1)
    """Pictures that are decoded at the same time."""
    max_image_bytes: int = Field(default=Limits().max_bytes, ge=1)
    """Bytes of the largest encoded picture."""
    max_image_pixels: int = Field(default=Limits().max_pixels, ge=1, le=MOST_PIXELS)
    """Pixels of the largest picture, by its header, before anything is decoded."""
