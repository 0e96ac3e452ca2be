"""Images a second by tenant."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.door import quotas as quotas_module
from gateway.door.bucket import Bucket
from gateway.door.quotas import Quotas, parse_quotas
from services.common.errors import ConfigurationError, OverloadedError

requests = st.lists(
    st.tuples(st.floats(0, 5), st.integers(1, 30)), min_size=1, max_size=40
)  # seconds since the last one, images


@given(st.floats(0.1, 50), st.floats(1, 20), requests)
def test_no_more_gets_through_than_the_bounds_allow(
    rate: float, burst: float, arriving: list[tuple[float, int]]
) -> None:
    bucket, now, taken, last = Bucket(rate, burst, 0.0), 0.0, 0, 0
    for pause, images in arriving:
        now += pause
        if bucket.take(images, now) == 0.0:
            beyond = max(0.0, images - burst)
            taken += images
            last = images
            assert taken <= burst + rate * now + beyond + 1e-6
    assert last > 0  # a full bucket lets anything through


@given(st.floats(0.1, 50), st.floats(1, 20), requests)
def test_what_is_refused_fits_when_it_is_told_and_not_before(
    rate: float, burst: float, arriving: list[tuple[float, int]]
) -> None:
    bucket, now = Bucket(rate, burst, 0.0), 0.0
    for pause, images in arriving:
        now += pause
        if wait_s := bucket.take(images, now):
            if wait_s > 1e-6:
                assert bucket.take(images, now + wait_s * 0.999) > 0
            assert bucket.take(images, now + wait_s * 1.001 + 1e-9) == 0.0
            now += wait_s * 1.001 + 1e-9


@given(st.floats(0.1, 50), st.floats(1, 20), requests)
def test_what_is_given_back_was_never_taken(
    rate: float, burst: float, arriving: list[tuple[float, int]]
) -> None:
    bucket, untouched, now = Bucket(rate, burst, 0.0), Bucket(rate, burst, 0.0), 0.0
    for pause, images in arriving:
        now += pause
        if bucket.take(images, now) == 0.0:
            bucket.give_back(images, now)
        assert bucket.full(now)
        assert untouched.full(now)


class Clock:
    """Says what it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


FILE = b"""
[default]
images_per_s = 10
[tenants.big]
images_per_s = 100
burst = 400
"""


def refused(quotas: Quotas, tenant: str, images: int) -> float:
    """Seconds after which it may go."""
    with pytest.raises(OverloadedError) as raised:
        quotas.charge(tenant, images)
    assert raised.value.reason == "QUOTA_EXCEEDED"
    return raised.value.retry_after_s


def test_each_tenant_has_its_own() -> None:
    clock = Clock()
    quotas = Quotas(1, clock)
    quotas.charge("anybody", 1_000_000)  # nothing is limited yet
    quotas.use(parse_quotas(FILE))
    quotas.charge("a", 10)
    assert refused(quotas, "a", 5) == pytest.approx(0.5)
    quotas.charge("b", 10)
    quotas.charge("big", 400)
    assert refused(quotas, "big", 50) == pytest.approx(0.5)
    clock.now += 0.5
    quotas.charge("a", 5)
    quotas.give_back("a", 5)
    quotas.charge("a", 5)


def test_gateways_share_the_bounds() -> None:
    quotas = Quotas(4, Clock())
    quotas.use(parse_quotas(FILE))
    quotas.charge("big", 100)
    assert refused(quotas, "big", 25) == pytest.approx(1.0)


def test_what_was_taken_stays_taken_when_the_bounds_change() -> None:
    quotas = Quotas(1, Clock())
    quotas.use(parse_quotas(FILE))
    quotas.charge("big", 400)
    quotas.use(parse_quotas(b"[tenants.big]\nimages_per_s = 1000\nburst = 500"))
    quotas.charge("big", 100)
    assert refused(quotas, "big", 100) == pytest.approx(0.1)
    quotas.charge("a", 1_000)
    quotas.use(parse_quotas(b""))
    quotas.charge("big", 1_000)


def test_full_buckets_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quotas_module, "MOST_BUCKETS", 3)
    clock = Clock()
    quotas = Quotas(1, clock)
    quotas.use(parse_quotas(FILE))
    quotas.charge("a", 10)
    clock.now += 10
    for number in range(20):
        quotas.charge(f"t{number}", 1)
        clock.now += 0.05
    assert len(quotas._buckets) <= 4
    assert refused(quotas, "t19", 10) > 0


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\xff", "no TOML"),
        (b"[default", "no TOML"),
        (b"[default]\nburst = 3", r"default\.images_per_s"),
        (b"[default]\nimages_per_s = 0", r"default\.images_per_s"),
        (b"[default]\nimages_per_s = inf", r"default\.images_per_s"),
        (b"[default]\nimages_per_s = 1\nburst = 0", r"default\.burst"),
        (b"[tenant.a]\nimages_per_s = 1", "tenant"),
        (b"[tenants.a]\nimages = 1", r"tenants\.a"),
    ],
)
def test_broken_files(data: bytes, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        parse_quotas(data)
