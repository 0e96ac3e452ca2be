"""Settings of the preprocessing service."""

from pydantic import Field

from services.common.settings import ServiceSettings


class PreprocessingSettings(ServiceSettings):
    """Each is also the environment variable FACET_<NAME>."""

    threads: int = Field(default=2, ge=1)
    """Pictures that are decoded at the same time."""
    max_image_bytes: int = Field(default=20 * 1024 * 1024, ge=1)
    """Bytes of the largest encoded picture."""
    max_image_pixels: int = Field(default=50_000_000, ge=1)
    """Pixels of the largest picture, by its header, before anything is decoded."""
