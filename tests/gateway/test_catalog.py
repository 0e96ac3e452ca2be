"""Which versions are served, by what the shards reported."""

import pytest

from facet.cluster.v1 import cluster_pb2
from facet.inference.v1 import inference_pb2
from facet.type.v1 import model_pb2
from gateway.catalog import Catalog
from services.common.errors import ModelNotFoundError
from services.common.models.key import ModelKey


def descriptor(name: str, version: int, engine: str = "") -> model_pb2.ModelDescriptor:
    """A version as a shard describes it."""
    return model_pb2.ModelDescriptor(
        model=ModelKey(name, version).to_message(), labels=["x"], engine=engine
    )


def models(
    *descriptors: model_pb2.ModelDescriptor, sequence: int = 1
) -> inference_pb2.WatchShardResponse:
    """A report with the loaded versions."""
    return inference_pb2.WatchShardResponse(
        sequence=sequence, models=descriptors, models_included=True
    )


def load(images: int, sequence: int) -> inference_pb2.WatchShardResponse:
    """A report with the load alone."""
    return inference_pb2.WatchShardResponse(
        sequence=sequence, load=cluster_pb2.ShardLoad(outstanding_images=images)
    )


def served(catalog: Catalog) -> list[tuple[str, tuple[str, ...]]]:
    """What is served, and where."""
    return [
        (str(ModelKey.from_message(each.descriptor.model)), each.shards)
        for each in catalog.served()
    ]


def test_the_newest_version_answers_unless_told() -> None:
    catalog = Catalog()
    catalog.report("a", models(descriptor("cats", 9), descriptor("cats", 10)))
    assert catalog.resolve("cats", None).model.version == 10
    assert catalog.resolve("cats", 9).model.version == 9


def test_a_version_is_served_by_every_shard_that_has_it() -> None:
    catalog = Catalog()
    catalog.report("b", models(descriptor("cats", 1), descriptor("dogs", 1)))
    catalog.report("a", models(descriptor("cats", 1), descriptor("cats", 2)))
    assert served(catalog) == [
        ("cats:2", ("a",)),
        ("cats:1", ("a", "b")),
        ("dogs:1", ("b",)),
    ]
    assert catalog.describe("cats", 1).shards == ("a", "b")


@pytest.mark.parametrize(("name", "version"), [("birds", None), ("cats", 2), ("birds", 1)])
def test_what_is_not_served_is_not_found_and_what_is_is_told(
    name: str, version: int | None
) -> None:
    catalog = Catalog()
    catalog.report("a", models(descriptor("cats", 1)))
    with pytest.raises(ModelNotFoundError, match="served: cats:1"):
        catalog.resolve(name, version)
    with pytest.raises(ModelNotFoundError, match="served: none"):
        Catalog().resolve(name, version)


def test_a_version_whose_shards_died_is_still_known() -> None:
    catalog = Catalog()
    catalog.report("a", models(descriptor("cats", 1)))
    catalog.keep_only([])
    assert served(catalog) == []
    assert catalog.resolve("cats", None).model.version == 1
    assert catalog.describe("cats", 1).shards == ()
    assert not catalog.reports


def test_a_newer_version_without_shards_yields_to_one_that_is_served() -> None:
    catalog = Catalog()
    catalog.report("a", models(descriptor("cats", 2)))
    catalog.report("b", models(descriptor("cats", 1)))
    catalog.keep_only(["b"])
    assert catalog.resolve("cats", None).model.version == 1


def test_a_version_that_the_last_shard_unloads_is_forgotten() -> None:
    catalog = Catalog()
    for shard in ("a", "b"):
        catalog.report(shard, models(descriptor("cats", 1)))
    catalog.report("a", models(sequence=2))
    assert catalog.resolve("cats", 1)
    catalog.report("b", models(sequence=2))
    with pytest.raises(ModelNotFoundError):
        catalog.resolve("cats", 1)


def test_load_alone_leaves_the_models_as_they_were() -> None:
    catalog = Catalog()
    catalog.report("a", models(descriptor("cats", 1)))
    catalog.report("a", load(5, sequence=2))
    report = catalog.reports["a"]
    assert report.load.outstanding_images == 5
    assert [model.model.name for model in report.models] == ["cats"]
    assert served(catalog) == [("cats:1", ("a",))]


def test_an_older_load_is_dropped() -> None:
    catalog = Catalog()
    catalog.report("a", models(descriptor("cats", 1)))
    catalog.report("a", load(5, sequence=3))
    catalog.report("a", load(7, sequence=2))
    assert catalog.reports["a"].load.outstanding_images == 5


def test_a_restarted_count_begins_with_a_report_of_the_models() -> None:
    catalog = Catalog()
    catalog.report("a", models(descriptor("cats", 1), sequence=90))
    catalog.report("a", models(descriptor("dogs", 1), sequence=1))
    catalog.report("a", load(5, sequence=2))
    assert served(catalog) == [("dogs:1", ("a",))]
    assert catalog.reports["a"].load.outstanding_images == 5


def test_load_of_a_shard_that_was_dropped_does_not_bring_it_back() -> None:
    catalog = Catalog()
    catalog.report("a", models(descriptor("cats", 1)))
    catalog.keep_only([])
    catalog.report("a", load(5, sequence=2))
    assert not catalog.reports
    assert served(catalog) == []


def test_the_newest_description_of_a_version_counts() -> None:
    catalog = Catalog()
    catalog.report("a", models(descriptor("cats", 1, engine="old")))
    catalog.report("b", models(descriptor("cats", 1, engine="new")))
    assert catalog.resolve("cats", 1).engine == "new"
