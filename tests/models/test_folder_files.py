"""Folders as files, and files that were made to do harm when they are unpacked."""

import contextlib
import io
import os
import tarfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.common.errors import ModelRefusedError
from services.common.models.folder_files import pack, unpack


def fill(folder: Path) -> dict[str, bytes]:
    contents = {"saved_model.pb": b"graph", "variables/data": bytes(70_000), "empty/a": b""}
    for name, content in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return contents


def files_in(folder: Path) -> dict[str, bytes]:
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }


def test_what_is_packed_comes_out_again(tmp_path: Path) -> None:
    contents = fill(tmp_path / "in")
    pack(tmp_path / "in", tmp_path / "one.tar")
    unpack(tmp_path / "one.tar", tmp_path / "out")
    assert files_in(tmp_path / "out") == contents


def test_the_same_content_is_the_same_file(tmp_path: Path) -> None:
    fill(tmp_path / "in")
    pack(tmp_path / "in", tmp_path / "one.tar")
    for file in (tmp_path / "in").rglob("*"):
        os.utime(file, (1, 1))
        file.chmod(0o700)
    pack(tmp_path / "in", tmp_path / "two.tar")
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()


def entry(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    found.type, found.linkname = kind, target
    return found


@pytest.mark.parametrize(
    ("hostile", "says"),
    [
        (entry("../outside"), "lies outside"),
        (entry("/tmp/outside"), "lies outside"),
        (entry("a/../../outside"), "lies outside"),
        (entry("link", tarfile.SYMTYPE, "/etc"), "not a plain file"),
        (entry("link", tarfile.LNKTYPE, "a"), "not a plain file"),
        (entry("pipe", tarfile.FIFOTYPE), "not a plain file"),
        (entry("device", tarfile.CHRTYPE), "not a plain file"),
        (entry("a"), "cannot be unpacked"),
    ],
    ids=lambda value: value.name if isinstance(value, tarfile.TarInfo) else None,
)
def test_archives_that_would_do_harm_are_refused(
    tmp_path: Path, hostile: tarfile.TarInfo, says: str
) -> None:
    with tarfile.open(tmp_path / "bad.tar", "w") as archive:
        archive.addfile(entry("a"), io.BytesIO())
        archive.addfile(hostile, io.BytesIO())
    (tmp_path / "out").mkdir()
    with pytest.raises(ModelRefusedError, match=says):
        unpack(tmp_path / "bad.tar", tmp_path / "out")
    assert files_in(tmp_path) == {"bad.tar": (tmp_path / "bad.tar").read_bytes(), "out/a": b""}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_torn_archives_are_refused_or_lie_in_their_folder(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("torn")
    fill(folder / "in")
    pack(folder / "in", folder / "whole.tar")
    content = bytearray((folder / "whole.tar").read_bytes())
    content = content[: data.draw(st.integers(0, len(content)))]
    for _ in range(data.draw(st.integers(0, 4)) if content else 0):
        content[data.draw(st.integers(0, min(1536, len(content)) - 1))] = data.draw(
            st.integers(0, 255)
        )
    (folder / "torn.tar").write_bytes(content)
    (folder / "out").mkdir()
    before = {name: file for name, file in files_in(folder).items() if "out/" not in name}
    with contextlib.suppress(ModelRefusedError):
        unpack(folder / "torn.tar", folder / "out")
    after = {name: file for name, file in files_in(folder).items() if "out/" not in name}
    assert after == before
