"""Domain errors.

    FacetError
    ├── InvalidRequestError        the caller must change the request
    ├── ModelNotFoundError         nothing serves that model or version
    ├── ImageError                 one picture; never fails its batch-mates
    ├── UnauthenticatedError       who calls is not known; another credential may help
    ├── ForbiddenError             who calls is known, and may not
    ├── DeadlineExceededError      the caller's time is over
    ├── OverloadedError            refused on arrival; try again after `retry_after_s`
    ├── UnavailableError           no instance can do it now; try again
    │   ├── LinkLostError          the other process went away during the call
    │   └── DrainingError          the other process is shutting down
    ├── NotLeaderError             ask the leader instead
    ├── ModelRefusedError          a model version that must not be served
    ├── RegistryError              the registry does not answer or refuses
    ├── ConfigurationError         a setting that this process cannot run with
    └── InternalError              a fault of ours

Each has a `reason` in UPPER_SNAKE_CASE, stable for programs, and a sentence for people.
`services.common.statuses` maps them to gRPC and back.
"""


class FacetError(Exception):
    """Base of all errors that cross a service boundary on purpose."""

    default_reason = "INTERNAL"

    def __init__(self, message: str, *, reason: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or self.default_reason


class InvalidRequestError(FacetError):
    """The request can never succeed as it is."""

    default_reason = "INVALID_REQUEST"


class ModelNotFoundError(FacetError):
    """No shard serves that model or version."""

    default_reason = "MODEL_NOT_FOUND"


class ImageError(FacetError):
    """One picture cannot be recognised.

    Reasons: IMAGE_CORRUPT, IMAGE_TOO_LARGE, IMAGE_EMPTY, UNSUPPORTED_FORMAT, DECODER_CRASHED.
    """

    default_reason = "IMAGE_CORRUPT"


class UnauthenticatedError(FacetError):
    """The credential is missing, or no good.

    Reasons: CREDENTIALS_MISSING, CREDENTIALS_INVALID, CREDENTIALS_EXPIRED.
    """

    default_reason = "CREDENTIALS_INVALID"


class ForbiddenError(FacetError):
    """The credential is good, but not for this."""

    default_reason = "FORBIDDEN"


class DeadlineExceededError(FacetError):
    """The caller's time ran out."""

    default_reason = "DEADLINE_EXCEEDED"


class OverloadedError(FacetError):
    """Refused on arrival; `retry_after_s` says in how many seconds it may go better."""

    default_reason = "OVERLOADED"

    def __init__(
        self, message: str, *, reason: str | None = None, retry_after_s: float = 1.0
    ) -> None:
        super().__init__(message, reason=reason)
        self.retry_after_s = retry_after_s


class UnavailableError(FacetError):
    """No instance can do it now."""

    default_reason = "NO_INSTANCE"


class LinkLostError(UnavailableError):
    """The process at the other end went away; whether it did the work is unknown."""

    default_reason = "LINK_LOST"


class DrainingError(UnavailableError):
    """The process at the other end is shutting down and took no work."""

    default_reason = "DRAINING"


class NotLeaderError(FacetError):
    """The process at the other end is a standby."""

    default_reason = "NOT_LEADER"


class ModelRefusedError(FacetError):
    """A model version must not be served: altered, unreadable, or not what it claims to be."""

    default_reason = "MODEL_REFUSED"


class RegistryError(FacetError):
    """The registry does not answer, or refuses."""

    default_reason = "REGISTRY_UNREACHABLE"


class ConfigurationError(FacetError):
    """A setting, or the machine, does not let this process run; trying again is no use."""

    default_reason = "INVALID_SETTING"


class InternalError(FacetError):
    """A fault of ours."""

    default_reason = "INTERNAL"
