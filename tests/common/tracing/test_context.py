"""Ids that are taken over, and those that are not."""

import pytest

from facet.type.v1 import request_pb2
from services.common.tracing.context import Parent, new_request_id, of_requests, sane_request_id

TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"


@pytest.mark.parametrize(
    "given",
    [
        *(b"a", b"3f0e-11", b"user:7/order=3+4@shop_1.x", b"x" * 128),
        pytest.param(new_request_id().encode(), id="new"),
    ],
)
def test_a_sane_id_is_taken_over(given: bytes) -> None:
    assert sane_request_id(given) == given.decode()


@pytest.mark.parametrize(
    "given",
    [b"", b"x" * 129, b"two words", b"line\nline", b"\x1b[31m", "für".encode(), b'"', b"\0"],
)
def test_another_one_is_not(given: bytes) -> None:
    assert sane_request_id(given) is None


def test_ids_that_are_made_are_sane_and_differ() -> None:
    ids = {new_request_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert {len(each) for each in ids} == {16}


@pytest.mark.parametrize("flags", ["00", "01", "02", "03"])
def test_a_traceparent_is_read_and_written(flags: str) -> None:
    parent = Parent.read(f"00-{TRACE}-{SPAN}-{flags}")
    assert parent == Parent(int(TRACE, 16), int(SPAN, 16), sampled=flags[1] in "13")
    assert parent.write() == f"00-{TRACE}-{SPAN}-0{int(parent.sampled)}"


def test_a_later_version_may_say_more() -> None:
    assert Parent.read(f"01-{TRACE}-{SPAN}-01-more") == Parent(int(TRACE, 16), int(SPAN, 16), True)


@pytest.mark.parametrize(
    "given",
    [
        "",
        "nonsense",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-01-more",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{SPAN}-01\n",
    ],
)
def test_what_is_no_traceparent_is_none(given: str) -> None:
    assert Parent.read(given) is None


def test_the_fields_of_a_line_name_each_request_once() -> None:
    one, two, none = (request_pb2.RequestContext(request_id=each) for each in ("a", "b", ""))
    assert of_requests([]) == of_requests([none]) == {}
    assert of_requests([one, none, one]) == {"request_id": "a"}
    assert of_requests([two, one, two]) == {"request_ids": ["b", "a"]}
