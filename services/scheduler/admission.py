"""Which requests are refused on arrival, because their answer would come too late.

A queue that takes everything in answers everything late: at twice the capacity nothing useful
is done at all. So a request is refused when its predicted answer would use up more than SHARE of
the time that its caller gives it; the rest is for what a prediction can't know. The caller is
told when to try again.
"""

from typing import Final

from services.scheduler.descriptors import Refusal

SHARE: Final = 0.7
MIN_RETRY_S: Final = 0.01
MAX_RETRY_S: Final = 5.0


def ahead(images: int, own: int, queued: int, tenants: int) -> int:
    """Return how many queued images are run before the last one of a new request.

    `images` are the request's, `own` those that its tenant has queued, `queued` those of all
    tenants, `tenants` how many have pieces waiting, this one included. Between tenants the queue
    takes turns: while this tenant's images leave, each other one's leave as fast, but not more
    than there are.
    """
    return min(queued + images, tenants * (own + images))


def refusal(predicted_s: float, budget_s: float) -> Refusal | None:
    """Return why a request is refused, or None to take it in.

    `predicted_s` is the predicted time until its last image has been run, `budget_s` what is
    left until the caller's deadline.
    """
    allowed = SHARE * budget_s
    if predicted_s <= allowed:
        return None
    retry = min(max(predicted_s - allowed, MIN_RETRY_S), MAX_RETRY_S)
    return Refusal(predicted_s=predicted_s, allowed_s=allowed, retry_after_s=retry)
