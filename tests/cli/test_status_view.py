"""What `facet status` prints, as text."""

import io

from rich.console import Console

from facet.cli.figures import bar, duration, rate, ratio
from facet.cli.status_view import status_view
from facet.cluster.v1 import cluster_pb2
from tests.cli.clusters import cluster

STATUS = """\
 service    instance            address          state    models                   in hand  images
 gateway    gateway-1-aaaaaa    127.0.0.1:50051  serving
 inference  inference-1-000000  127.0.0.1:41000  serving  digits:1 photographs:12        0       0
 inference  inference-2-000001  127.0.0.1:41001  serving  digits:1 photographs:12        1    1000

 shard               model           images/s  load   batch       a      c  slow  pred/real  error
 inference-1-000000  digits:1               0   0 %    0/32  412 µs  88 µs  1.50
 inference-1-000000  photographs:12         0   0 %    0/32  412 µs  88 µs  1.50
 inference-2-000001  digits:1             100  50 %  4.2/32  412 µs  88 µs  1.50       0.97   ±8 %
 inference-2-000001  photographs:12         0   0 %    0/32  412 µs  88 µs  1.50

 model       shards  images/s  capacity  headroom  refused/s  waiting    wait
 model0:1         2         0     5,678     4,444          0        0
 model1:1         2      10.0     5,678     4,444        0.2        1  1.0 ms

2 shards: 1,234 of 5,678 images/s, load 22 %; the demand asks for 1.
This gateway: 3 requests in hand, 1000 answered, 2 failed (OVERLOADED 2)."""


def text(shown: cluster_pb2.Cluster, width: int = 100) -> str:
    """What a terminal of so many columns shows."""
    console = Console(file=io.StringIO(), width=width)
    for part in status_view(shown):
        console.print(part)
    assert isinstance(console.file, io.StringIO)
    return "\n".join(line.rstrip() for line in console.file.getvalue().rstrip().splitlines())


def test_it_fits_into_a_hundred_columns() -> None:
    assert text(cluster(2)) == STATUS


def test_a_cluster_without_shards_has_no_empty_tables() -> None:
    shown = text(cluster(0, models=0))
    assert "pred/real" not in shown
    assert "headroom" not in shown
    assert "0 shards" in shown


def test_numbers_are_short() -> None:
    assert [rate(each) for each in (0, 0.04, 9.96, 123.4, 12345.6)] == [
        *("0", "0.0", "10.0", "123", "12,346"),
    ]
    assert [duration(each) for each in (0, 12.3, 1234, 45_678, 1_500_000)] == [
        *("", "12 µs", "1.2 ms", "46 ms", "1.5 s"),
    ]
    assert [ratio(each) for each in (0, 0.987)] == ["", "0.99"]


def test_a_bar_is_full_at_one() -> None:
    assert bar(0, 4) == "░░░░"
    assert bar(0.5, 4) == "██░░"
    assert bar(0.53, 4) == "██▏░"
    assert bar(1, 4) == bar(7, 4) == "████"
