"""Which versions there are, by what the shards reported."""

from collections.abc import Mapping, Sequence

import pytest

from facet.cluster.v1 import cluster_pb2
from facet.inference.v1 import inference_pb2
from facet.type.v1 import model_pb2
from gateway.catalog import Catalog, Wanted
from services.common.errors import ModelNotFoundError, ModelRefusedError
from services.common.models.key import ModelKey

CATS = Wanted("cats")


def descriptor(name: str, version: int, engine: str = "") -> model_pb2.ModelDescriptor:
    """A version as a shard describes it."""
    return model_pb2.ModelDescriptor(
        model=ModelKey(name, version).to_message(), labels=["x"], engine=engine
    )


def releases(
    name: str,
    *versions: int,
    current: int = 0,
    sequence: int = 0,
    labels: Mapping[str, int] | None = None,
    retired: Sequence[int] = (),
) -> inference_pb2.ModelReleases:
    """What the repository has of a model; the newest version is current unless told."""
    return inference_pb2.ModelReleases(
        name=name,
        sequence=sequence,
        current=current or max(versions),
        labels=labels,
        versions=versions,
        retired=retired,
    )


def report(
    *loaded: model_pb2.ModelDescriptor,
    shelf: Sequence[inference_pb2.ModelReleases] | None = None,
    refused: Mapping[ModelKey, str] | None = None,
    sequence: int = 1,
) -> inference_pb2.WatchShardResponse:
    """A report with the loaded versions; the repository has these and no others unless told."""
    if shelf is None:
        names = {each.model.name for each in loaded}
        shelf = [
            releases(name, *(e.model.version for e in loaded if e.model.name == name))
            for name in sorted(names)
        ]
    return inference_pb2.WatchShardResponse(
        sequence=sequence,
        models=loaded,
        models_included=True,
        releases=shelf,
        refused=[
            cluster_pb2.RefusedModel(model=key.to_message(), reason=reason)
            for key, reason in (refused or {}).items()
        ],
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
    catalog.report("a", report(descriptor("cats", 9), descriptor("cats", 10)))
    assert catalog.resolve(CATS) == ("cats", 10)
    assert catalog.resolve(Wanted("cats", 9)) == ("cats", 9)


def test_the_promoted_version_answers_to_the_name_and_labels_to_theirs() -> None:
    catalog = Catalog()
    shelf = [releases("cats", 1, 2, 3, current=1, sequence=2, labels={"canary": 3})]
    loaded = [descriptor("cats", version) for version in (1, 2, 3)]
    catalog.report("a", report(*loaded, shelf=shelf))
    assert catalog.resolve(CATS) == ("cats", 1)
    assert catalog.resolve(Wanted("cats", label="canary")) == ("cats", 3)
    with pytest.raises(ModelNotFoundError, match="labelled 'stable'; labels: canary"):
        catalog.resolve(Wanted("cats", label="stable"))


def test_a_version_that_no_shard_has_loaded_can_be_asked_for() -> None:
    catalog = Catalog()
    catalog.report("a", report(descriptor("cats", 2), shelf=[releases("cats", 1, 2)]))
    assert catalog.resolve(Wanted("cats", 1)) == ("cats", 1)
    assert catalog.descriptor(ModelKey("cats", 1)) is None
    assert catalog.offering(ModelKey("cats", 1)) == ["a"]
    catalog.described(descriptor("cats", 1))
    assert catalog.descriptor(ModelKey("cats", 1)) is not None
    catalog.report("a", report(descriptor("cats", 2), sequence=2))
    assert catalog.descriptor(ModelKey("cats", 1)) is None  # the repository has it no more


def test_a_retired_version_is_not_served_though_shards_still_have_it() -> None:
    catalog = Catalog()
    shelf = [releases("cats", 2, sequence=1, retired=[1])]
    catalog.report("a", report(descriptor("cats", 2), shelf=shelf))
    with pytest.raises(ModelNotFoundError, match="cats:1 is retired"):
        catalog.resolve(Wanted("cats", 1))


def test_a_version_is_served_by_every_shard_that_has_it() -> None:
    catalog = Catalog()
    catalog.report("b", report(descriptor("cats", 1), descriptor("dogs", 1)))
    catalog.report("a", report(descriptor("cats", 1), descriptor("cats", 2)))
    assert served(catalog) == [
        ("cats:2", ("a",)),
        ("cats:1", ("a", "b")),
        ("dogs:1", ("b",)),
    ]
    assert catalog.shards(ModelKey("cats", 1)) == ("a", "b")


@pytest.mark.parametrize(("name", "version"), [("birds", None), ("cats", 2), ("birds", 1)])
def test_what_is_not_there_is_not_found_and_what_is_is_told(name: str, version: int | None) -> None:
    catalog = Catalog()
    catalog.report("a", report(descriptor("cats", 1)))
    with pytest.raises(ModelNotFoundError, match="served: cats:1"):
        catalog.resolve(Wanted(name, version))
    with pytest.raises(ModelNotFoundError, match="served: none"):
        Catalog().resolve(Wanted(name, version))


def test_a_version_whose_shards_died_is_still_known() -> None:
    catalog = Catalog()
    catalog.report("a", report(descriptor("cats", 1)))
    catalog.keep_only([])
    assert served(catalog) == []
    assert catalog.resolve(CATS) == ("cats", 1)
    assert catalog.descriptor(ModelKey("cats", 1)) is not None
    assert not catalog.reports
    assert catalog.why_not(ModelKey("cats", 1)) is None


def test_a_newer_version_without_shards_yields_to_one_that_is_served() -> None:
    catalog = Catalog()
    catalog.report("a", report(descriptor("cats", 2)))
    catalog.report("b", report(descriptor("cats", 1), shelf=[releases("cats", 1, 2)]))
    catalog.keep_only(["b"])
    assert catalog.resolve(CATS) == ("cats", 1)


def test_a_version_that_every_shard_refuses_is_refused_with_the_reason() -> None:
    catalog = Catalog()
    shelf, bad = [releases("cats", 1, 2)], {ModelKey("cats", 2): "it bites"}
    catalog.report("a", report(descriptor("cats", 1), shelf=shelf, refused=bad))
    catalog.report("b", report(descriptor("cats", 1), shelf=shelf))
    assert catalog.resolve(Wanted("cats", 2)) == ("cats", 2)  # b may still load it
    catalog.report("b", report(descriptor("cats", 1), shelf=shelf, refused=bad, sequence=2))
    assert catalog.resolve(CATS) == ("cats", 1)
    with pytest.raises(ModelRefusedError, match="every shard refuses cats:2: it bites"):
        catalog.resolve(Wanted("cats", 2))


def test_a_version_that_a_shard_had_loaded_is_waited_for_though_the_others_refuse_it() -> None:
    catalog = Catalog()
    shelf, bad = [releases("cats", 1)], {ModelKey("cats", 1): "no engine can run it here"}
    catalog.report("a", report(shelf=shelf, refused=bad))
    catalog.report("b", report(descriptor("cats", 1), shelf=shelf))
    catalog.keep_only(["a"])
    assert catalog.resolve(CATS) == ("cats", 1)
    assert catalog.why_not(ModelKey("cats", 1)) is None


def test_a_version_that_the_last_shard_unloads_and_the_repository_lost_is_forgotten() -> None:
    catalog = Catalog()
    for shard in ("a", "b"):
        catalog.report(shard, report(descriptor("cats", 1)))
    catalog.report("a", report(sequence=2))
    assert catalog.resolve(Wanted("cats", 1))
    catalog.report("b", report(sequence=2))
    with pytest.raises(ModelNotFoundError):
        catalog.resolve(Wanted("cats", 1))
    assert isinstance(catalog.why_not(ModelKey("cats", 1)), ModelNotFoundError)


def test_load_alone_leaves_the_models_as_they_were() -> None:
    catalog = Catalog()
    catalog.report("a", report(descriptor("cats", 1)))
    catalog.report("a", load(5, sequence=2))
    last = catalog.reports["a"]
    assert last.load.outstanding_images == 5
    assert [model.model.name for model in last.models] == ["cats"]
    assert served(catalog) == [("cats:1", ("a",))]


def test_an_older_load_is_dropped() -> None:
    catalog = Catalog()
    catalog.report("a", report(descriptor("cats", 1)))
    catalog.report("a", load(5, sequence=3))
    catalog.report("a", load(7, sequence=2))
    assert catalog.reports["a"].load.outstanding_images == 5


def test_a_restarted_count_begins_with_a_report_of_the_models() -> None:
    catalog = Catalog()
    catalog.report("a", report(descriptor("cats", 1), sequence=90))
    catalog.report("a", report(descriptor("dogs", 1), sequence=1))
    catalog.report("a", load(5, sequence=2))
    assert served(catalog) == [("dogs:1", ("a",))]
    assert catalog.reports["a"].load.outstanding_images == 5


def test_load_of_a_shard_that_was_dropped_does_not_bring_it_back() -> None:
    catalog = Catalog()
    catalog.report("a", report(descriptor("cats", 1)))
    catalog.keep_only([])
    catalog.report("a", load(5, sequence=2))
    assert not catalog.reports
    assert served(catalog) == []


def test_the_newest_description_of_a_version_counts() -> None:
    catalog = Catalog()
    catalog.report("a", report(descriptor("cats", 1, engine="old")))
    catalog.report("b", report(descriptor("cats", 1, engine="new")))
    found = catalog.descriptor(catalog.resolve(Wanted("cats", 1)))
    assert found is not None
    assert found.engine == "new"
