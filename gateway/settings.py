"""Settings of the gateway."""

from pydantic import Field

from services.common.settings import ServiceSettings


class GatewaySettings(ServiceSettings):
    """Each is also the environment variable FACET_<NAME>."""

    port: int = Field(default=50051, ge=0, le=65535)
    """Public port; 0: any free one."""
    max_message_bytes: int = Field(default=64 * 1024 * 1024, ge=-1)
    """Bytes of the largest request; -1: no limit."""
    max_images: int = Field(default=1024, ge=1)
    """Images in the largest request."""
    max_queued_images: int = Field(default=8192, ge=1)
    """Images that may wait for their answer; more are refused with RESOURCE_EXHAUSTED."""
    max_stream_requests: int = Field(default=64, ge=1)
    """Requests in hand of one StreamRecognize; the next one is read when one is answered."""
    shared_memory_bytes: int = Field(default=512 * 1024 * 1024, ge=0)
    """Memory for pixels that services of this host share with the gateway; it is taken as it is
    used. 0: pixels are always sent."""
    default_deadline_s: float = Field(default=30.0, gt=0)
    """Seconds that a call without a deadline gets."""
    max_deadline_s: float = Field(default=300.0, gt=0)
    """Seconds that any call gets at most."""
