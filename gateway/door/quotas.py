"""How much each tenant may have recognised: a file, and a bucket for each tenant.

    [default]            # every tenant that is not named; without it those have no limit
    images_per_s = 200
    burst = 400          # images at once after a pause; by default those of one second

    [tenants.acme]
    images_per_s = 2000

The bounds are the cluster's: of several gateways each holds its even share.
"""

import time
import tomllib
from collections.abc import Callable
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gateway.door.bucket import Bucket
from services.common.errors import ConfigurationError, OverloadedError

MOST_BUCKETS: Final = 10_000
"""With so many, those that are full are forgotten: a new one is as good."""


class Quota(BaseModel):
    """The bounds of one tenant."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    images_per_s: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    burst: Annotated[float | None, Field(ge=1, allow_inf_nan=False)] = None

    @property
    def bounds(self) -> tuple[float, float]:
        """Images a second, and at once."""
        return self.images_per_s, self.burst or max(1.0, self.images_per_s)


class QuotaFile(BaseModel):
    """The bounds of all."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    default: Quota | None = None
    tenants: dict[str, Quota] = {}

    def of(self, tenant: str) -> Quota | None:
        """Return the bounds of a tenant; None: it has none."""
        return self.tenants.get(tenant, self.default)


def parse_quotas(data: bytes) -> QuotaFile:
    """Return what a file's content says; ConfigurationError says what is wrong with it."""
    try:
        return QuotaFile.model_validate(tomllib.loads(data.decode()))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"it is no TOML: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ConfigurationError(f"{where}: {first['msg']}") from None


class Quotas:
    """Charges tenants for images."""

    def __init__(self, gateways: int, clock: Callable[[], float] = time.monotonic) -> None:
        """`gateways` share the bounds."""
        self._gateways = gateways
        self._clock = clock
        self._file = QuotaFile()
        self._buckets: dict[str, Bucket] = {}

    def use(self, file: QuotaFile) -> None:
        """Go by these bounds from now on."""
        self._file = file
        now = self._clock()
        for tenant, bucket in list(self._buckets.items()):
            if (quota := file.of(tenant)) is None:
                del self._buckets[tenant]
            else:
                bucket.change(*self._share(quota), now)

    def charge(self, tenant: str, images: int) -> None:
        """Take the images from what a tenant may have; takes none where it raises.

        Raises OverloadedError (QUOTA_EXCEEDED), with the time after which they fit.
        """
        quota = self._file.of(tenant)
        if quota is None:
            return
        now = self._clock()
        bucket = self._buckets.get(tenant)
        if bucket is None:
            self._forget(now)
            bucket = self._buckets[tenant] = Bucket(*self._share(quota), now)
        if wait_s := bucket.take(images, now):
            raise OverloadedError(
                f"the quota of {quota.images_per_s:g} images a second is used up",
                reason="QUOTA_EXCEEDED",
                retry_after_s=wait_s,
            )

    def give_back(self, tenant: str, images: int) -> None:
        """The cluster refused what was charged for."""
        if (bucket := self._buckets.get(tenant)) is not None:
            bucket.give_back(images, self._clock())

    def _share(self, quota: Quota) -> tuple[float, float]:
        rate, burst = quota.bounds
        return rate / self._gateways, max(1.0, burst / self._gateways)

    def _forget(self, now: float) -> None:
        if len(self._buckets) >= MOST_BUCKETS:
            self._buckets = {
                tenant: bucket for tenant, bucket in self._buckets.items() if not bucket.full(now)
            }
