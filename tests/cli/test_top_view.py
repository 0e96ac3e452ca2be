"""Frames of `facet top`, as text."""

from hypothesis import given
from hypothesis import strategies as st

from facet.cli.top_view import frame
from facet.cluster.v1 import cluster_pb2
from tests.cli.clusters import cluster

WIDE = """\
1,234 images/s   of 5,678   headroom 4,444   load ██▏░░░░░░░ 22 %   waiting 17   requests 3   \
errors 2   shards 3, wanted 1   q leaves

shard               state        model        images/s  load              batch       a       c  \
pred/real  waiting  wasted
inference-3-000002  unreachable  digits:1 +1       200  unreachable         4.2  619 µs  132 µs  \
     0.97        2       2
inference-2-000001  serving      digits:1 +1       100  ███▍░░░░░░  33 %    4.2  619 µs  132 µs  \
     0.97        1       1
inference-1-000000  serving      digits:1 +1         0  ░░░░░░░░░░   0 %         619 µs  132 µs  \
                 0       0

model     shards  images/s  capacity  headroom  refused/s  waiting    wait
model1:1       3      10.0     5,678     4,444        0.2        1  1.0 ms
model0:1       3         0     5,678     4,444          0        0"""

NARROW = """\
1,234 images/s   of 5,678   headroom 4,444   load ██▏░░░░░░░ 22 %   waiting 17
requests 3   errors 2   shards 60, wanted 1   q leaves
No gateway answers at here:1; trying again.

shard                model        images/s  load                   a  pred/real
inference-60-00003b  digits:1 +1     5,900  █████████▉  98 %  619 µs       0.97
inference-59-00003a  digits:1 +1     5,800  █████████▋  97 %  619 µs       0.97
inference-58-000039  digits:1 +1     5,700  █████████▌  95 %  619 µs       0.97
… and 57 more

model     shards  images/s  capacity  headroom  refused/s  waiting    wait
model8:1      60      80.0     5,678     4,444        2.0        8  8.0 ms
model7:1      60      70.0     5,678     4,444        1.8        7  7.0 ms
model6:1      60      60.0     5,678     4,444        1.5        6  6.0 ms
… and 6 more"""


def text(shown: cluster_pb2.Cluster, width: int, height: int, note: str = "") -> str:
    """A frame as a terminal shows it."""
    return "\n".join(line.plain for line in frame(shown, width, height, note, "q leaves"))


def test_a_wide_terminal_shows_everything() -> None:
    assert text(cluster(3), 140, 24) == WIDE


def test_a_narrow_one_leaves_out_columns_and_lines_and_says_how_many() -> None:
    note = "No gateway answers at here:1; trying again."
    assert text(cluster(60, models=9), 80, 15, note) == NARROW


def test_an_empty_cluster_says_what_is_missing() -> None:
    missing = "no inference instance can be reached"
    shown = text(cluster(0, models=0, missing=missing), 80, 24)
    assert f"Not ready: {missing}" in shown.splitlines()


def test_an_old_view_is_told_to_be_one() -> None:
    shown = cluster(3)
    shown.registry_reachable = False
    assert "The registry is unreachable; this is its last view." in text(shown, 80, 24)


def test_nothing_was_heard_yet() -> None:
    assert "Asking" in text(cluster_pb2.Cluster(), 80, 24, "Asking localhost:50051 …")


@given(st.integers(0, 70), st.integers(0, 9), st.integers(1, 200), st.integers(1, 60))
def test_no_frame_is_larger_than_its_terminal(
    shards: int, models: int, width: int, height: int
) -> None:
    lines = frame(cluster(shards, models=models), width, height, "an old view", "q leaves")
    assert len(lines) <= height
    assert all(line.cell_len <= width and "\n" not in line.plain for line in lines)


@given(st.integers(0, 70), st.integers(20, 60))
def test_every_shard_is_shown_or_counted(shards: int, height: int) -> None:
    lines = text(cluster(shards, models=1), 80, height).splitlines()
    shown = sum(line.startswith("inference-") for line in lines)
    more = [int(line.split()[2]) for line in lines if line.startswith("… and")]
    assert shown + sum(more) == shards
