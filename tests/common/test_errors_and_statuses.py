"""The tree of errors is complete, and survives the way through a status."""

from collections.abc import Iterator

import grpc
import pytest

from google.rpc import code_pb2, error_details_pb2, status_pb2
from services.common.errors import (
    FacetError,
    ImageError,
    InternalError,
    OverloadedError,
)
from services.common.statuses import DOMAIN, STATUS_CODES, from_status, status_code, to_status


def _tree(error: type[FacetError] = FacetError) -> Iterator[type[FacetError]]:
    yield error
    for child in error.__subclasses__():
        yield from _tree(child)


LEAVES = [error for error in _tree() if error is not FacetError]


def test_the_table_holds_exactly_the_tree() -> None:
    assert set(STATUS_CODES) == set(_tree())


def test_the_table_holds_only_failures() -> None:
    assert grpc.StatusCode.OK not in STATUS_CODES.values()


@pytest.mark.parametrize("kind", LEAVES)
def test_each_error_survives_a_status(kind: type[FacetError]) -> None:
    error = kind("what happened – in words")
    again = from_status(to_status(error))
    assert type(again) is kind
    assert again.reason == error.reason
    assert again.message == error.message


def test_the_base_becomes_an_internal_error() -> None:
    again = from_status(to_status(FacetError("no idea")))
    assert type(again) is InternalError


@pytest.mark.parametrize("retry_after_s", [0.0, 0.001, 1.0, 12.345678, 3600.0])
def test_the_time_to_try_again_survives(retry_after_s: float) -> None:
    again = from_status(to_status(OverloadedError("full", retry_after_s=retry_after_s)))
    assert isinstance(again, OverloadedError)
    assert again.retry_after_s == pytest.approx(retry_after_s, abs=1e-9)


@pytest.mark.parametrize(
    "reason",
    ["IMAGE_CORRUPT", "IMAGE_TOO_LARGE", "IMAGE_EMPTY", "UNSUPPORTED_FORMAT", "DECODER_CRASHED"],
)
def test_each_reason_of_a_picture_comes_back_as_one(reason: str) -> None:
    again = from_status(to_status(ImageError("bad", reason=reason)))
    assert type(again) is ImageError
    assert again.reason == reason


@pytest.mark.parametrize("kind", LEAVES)
def test_a_reason_of_its_own_survives_with_the_code(kind: type[FacetError]) -> None:
    error = kind("odd", reason="SOMETHING_ODD")
    again = from_status(to_status(error))
    assert again.reason == "SOMETHING_ODD"
    assert status_code(again) is STATUS_CODES[kind]


def test_a_status_names_the_domain_and_the_reason() -> None:
    status = to_status(OverloadedError("full", retry_after_s=2.5))
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    assert status.details[0].Unpack(info)
    assert status.details[1].Unpack(retry)
    assert (info.domain, info.reason) == (DOMAIN, "OVERLOADED")
    assert retry.retry_delay.ToMilliseconds() == 2500


def test_a_foreign_status_without_details_gets_the_class_of_its_code() -> None:
    again = from_status(status_pb2.Status(code=code_pb2.RESOURCE_EXHAUSTED, message="busy"))
    assert isinstance(again, OverloadedError)
    assert again.reason == OverloadedError.default_reason
    assert type(from_status(status_pb2.Status(code=code_pb2.DATA_LOSS))) is InternalError
