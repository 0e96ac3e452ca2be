import json
import re
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from services.common.errors import InvalidRequestError, ModelRefusedError
from services.common.models.artefacts import Artefact
from services.common.models.input_spec import InputSpec
from services.common.models.manifest import (
    GoldenFile,
    Manifest,
    Outputs,
    VersionContent,
    check_name,
)
from services.common.models.normalisation import Normalisation
from tests.models.contents import write_content

NOW = datetime(2030, 1, 2, 3, 4, 5, 678901, UTC)

digests = st.text("0123456789abcdef", min_size=64, max_size=64)
sizes = st.integers(0, 2**40)
numbers = st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(st.characters(codec="utf-8"), max_size=20)


@st.composite
def contents(draw: st.DrawFn) -> VersionContent:
    labels = draw(st.lists(texts.filter(bool), min_size=1, max_size=5))
    formats = draw(st.lists(st.sampled_from(["litert", "keras", "jax"]), min_size=1, unique=True))
    scalars = st.one_of(texts, st.integers(), numbers, st.booleans())
    side = draw(st.integers(1, 300))
    return VersionContent(
        source=draw(texts),
        input=InputSpec(side, draw(st.integers(1, 300)), 3),
        preprocessing=draw(
            st.builds(
                Normalisation.custom,
                st.tuples(*[st.floats(0, 255)] * 3),
                st.floats(1e-4, 1),
            )
        ),
        outputs=Outputs(
            classes=len(labels),
            activation=draw(st.sampled_from(["softmax", "sigmoid", "linear"])),
        ),
        artefacts=tuple(
            Artefact(format=each, file=f"model.{each}", sha256=draw(digests), bytes=draw(sizes))
            for each in formats
        ),
        golden=GoldenFile(
            file="golden.npz", sha256=draw(digests), bytes=draw(sizes), examples=2, tolerance=0.01
        ),
        training=draw(st.none() | st.dictionaries(texts, scalars, max_size=4)),
        metrics=draw(st.dictionaries(texts, st.one_of(st.integers(), numbers), max_size=4)),
        labels=tuple(labels),
    )


def _read(text: bytes) -> Manifest | None:
    try:
        return Manifest.from_json(text, "here")
    except ModelRefusedError:
        return None


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    return Manifest.of(write_content(tmp_path), "small", 7, NOW)


@given(content=contents(), version=st.integers(1, 10**9))
def test_a_manifest_survives_the_file(content: VersionContent, version: int) -> None:
    manifest = Manifest.of(content, "some-model_1.x", version, NOW)
    read = Manifest.from_json(manifest.to_json(), "here")
    assert read == manifest
    assert read.digest == manifest.digest
    assert read.to_json() == manifest.to_json()


@given(content=contents(), data=st.data())
def test_one_changed_byte_is_seen(content: VersionContent, data: st.DataObject) -> None:
    manifest = Manifest.of(content, "small", 1, NOW)
    text = bytearray(manifest.to_json())
    place = data.draw(st.integers(0, len(text) - 1))
    text[place] = data.draw(st.integers(0, 255).filter(lambda byte: byte != text[place]))
    # White space, or another spelling of the same value, changes nothing.
    assert _read(bytes(text)) in (None, manifest)


@given(content=contents(), data=st.data())
def test_a_torn_manifest_is_refused(content: VersionContent, data: st.DataObject) -> None:
    text = Manifest.of(content, "small", 1, NOW).to_json().rstrip()
    kept = data.draw(st.integers(0, len(text) - 1))
    with pytest.raises(ModelRefusedError, match="here"):
        Manifest.from_json(text[:kept], "here")


def test_it_reads_well(manifest: Manifest) -> None:
    text = manifest.to_json().decode()
    assert text.startswith('{\n  "format_version": 1,\n  "name": "small",\n  "version": 7,')
    assert "drei ✓" in text
    assert json.loads(text)["created"] == "2030-01-02T03:04:05.678901Z"


def test_the_time_is_kept_in_utc(tmp_path: Path) -> None:
    there = NOW.astimezone(timezone(timedelta(hours=9)))
    assert Manifest.of(write_content(tmp_path), "small", 7, there).created == NOW


@pytest.mark.parametrize("change", [{"name": "other"}, {"version": 8}, {"labels": ["a", "b", "c"]}])
def test_another_content_has_another_digest(manifest: Manifest, change: dict[str, Any]) -> None:
    record = json.loads(manifest.to_json()) | change
    with pytest.raises(ModelRefusedError, match="altered"):
        Manifest.from_json(json.dumps(record).encode(), "here")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"", "torn"),
        (b"\xff\xfe", "torn"),
        (b"[1]", "not a manifest"),
        (b'{"format_version": 2}', "format version 2; this Facet reads 1"),
        (b"{}", "format version None"),
    ],
)
def test_what_is_not_a_manifest_is_refused(text: bytes, says: str) -> None:
    with pytest.raises(ModelRefusedError, match=says):
        Manifest.from_json(text, "here")


def test_labels_must_fit_the_outputs(tmp_path: Path) -> None:
    fields = dict(write_content(tmp_path))
    with pytest.raises(ValidationError, match="2 labels for 3 classes"):
        VersionContent(**fields | {"labels": ("a", "b")})


def test_formats_are_not_given_twice(tmp_path: Path) -> None:
    fields = dict(write_content(tmp_path))
    (artefact,) = fields["artefacts"]
    twin = artefact.model_copy(update={"file": "twin"})
    with pytest.raises(ValidationError, match="one format"):
        VersionContent(**fields | {"artefacts": (artefact, twin)})
    with pytest.raises(ValidationError, match="one name"):
        VersionContent(**fields | {"artefacts": (artefact, artefact)})


@pytest.mark.parametrize("file", ["../model", "a/b", ".hidden", "", "x" * 101])
def test_artefacts_stay_in_their_folder(file: str) -> None:
    with pytest.raises(ValidationError):
        Artefact(format="litert", file=file, sha256="0" * 64, bytes=1)


def test_the_descriptor_tells_what_others_need(manifest: Manifest) -> None:
    descriptor = manifest.to_descriptor(max_batch=16, engine="litert")
    assert (descriptor.model.name, descriptor.model.version) == ("small", 7)
    assert InputSpec.from_message(descriptor.input) == manifest.input
    assert tuple(descriptor.labels) == manifest.labels
    assert (descriptor.digest, descriptor.max_batch) == (manifest.digest, 16)
    assert descriptor.engine == "litert"


@given(st.from_regex(r"[a-z0-9][a-z0-9_.-]{0,63}", fullmatch=True))
def test_good_names(name: str) -> None:
    assert check_name(name) == name


@given(st.text().filter(lambda name: not re.fullmatch(r"[a-z0-9][a-z0-9_.-]{0,63}", name)))
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(InvalidRequestError, match="name must be"):
        check_name(name)


@pytest.mark.parametrize("name", ["digits\n", "..", "a/b", "Digits", "", "-a", "é"])
def test_names_that_look_like_good_ones(name: str) -> None:
    with pytest.raises(InvalidRequestError):
        check_name(name)
