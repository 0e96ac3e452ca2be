"""Files are read again whenever they change, however that is done; broken ones change nothing."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import structlog
from structlog.typing import EventDict

from services.common.errors import ConfigurationError
from services.common.following.changes import LOOK_S
from services.common.following.files import FollowedFiles
from services.common.following.inotify import Folders
from tests.leaks import no_task_left  # noqa: F401
from tests.waiting import PATIENCE_S, until

pytestmark = pytest.mark.usefixtures("no_task_left")


class Words:
    """What was read, as text; a file may not say "bad"."""

    def __init__(self, *paths: Path) -> None:
        self.taken: list[str] = []
        self.files = FollowedFiles("the words", paths, self.take)

    @property
    def now(self) -> str:
        return self.taken[-1]

    def take(self, contents: Sequence[bytes]) -> None:
        text = b" ".join(contents).decode()
        if "bad" in text:
            raise ConfigurationError("such a word is not taken")
        self.taken.append(text)


@asynccontextmanager
async def followed(words: Words) -> AsyncIterator[None]:
    """They are followed for the time of the block."""
    following = asyncio.create_task(words.files.follow())
    try:
        yield
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


async def test_a_file_is_written_replaced_and_removed(tmp_path: Path) -> None:
    file, other = tmp_path / "file", tmp_path / "other"
    file.write_text("one")
    words = Words(file)
    async with followed(words):
        file.write_text("two")
        await until(lambda: words.now == "two")
        other.write_text("three")
        other.replace(file)
        await until(lambda: words.now == "three")
        file.unlink()
        file.write_text("four")
        await until(lambda: words.now == "four")


async def test_links_that_are_put_in_anothers_place_as_kubernetes_does(tmp_path: Path) -> None:
    # As kubelet's AtomicWriter leaves a volume: name → ..data/name, ..data → a dated folder.
    for day in ("..monday", "..tuesday"):
        (tmp_path / day).mkdir()
        (tmp_path / day / "keys").write_text(day)
    (tmp_path / "..data").symlink_to("..monday")
    (tmp_path / "keys").symlink_to("..data/keys")
    words = Words(tmp_path / "keys")
    async with followed(words):
        (tmp_path / "..data_tmp").symlink_to("..tuesday")
        (tmp_path / "..data_tmp").replace(tmp_path / "..data")
        await until(lambda: words.now == "..tuesday")
        # What it leads to now is followed too, no more what it led to before.
        (tmp_path / "..monday" / "keys").write_text("no longer")
        (tmp_path / "..tuesday" / "keys").write_text("later")
        await until(lambda: words.now == "later")
    assert words.taken == ["..monday", "..tuesday", "later"]


async def test_a_broken_file_changes_nothing_and_is_told_once(tmp_path: Path) -> None:
    file, beside = tmp_path / "file", tmp_path / "beside"
    file.write_text("good")
    beside.write_text("too")
    words = Words(file, beside)
    with structlog.testing.capture_logs() as logs:
        async with followed(words):
            file.write_text("bad")
            await until(lambda: len(_troubles(logs)) == 1)
            file.write_text("better")
            beside.write_text("now")
            await until(lambda: words.now == "better now")
            assert [line["reason"] for line in _troubles(logs)] == ["such a word is not taken"]
            beside.unlink()
            await until(lambda: len(_troubles(logs)) == 2)
            beside.write_text("now")
            await until(lambda: len(words.taken) == 3)
    assert words.taken == ["good too", "better now", "better now"]
    assert f"in {beside}: No such file" in _troubles(logs)[1]["reason"]


async def test_a_second_look_at_a_broken_file_says_no_more(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("good")
    words = Words(file)
    file.write_text("bad")
    with structlog.testing.capture_logs() as logs:
        assert [await words.files.refresh() for _ in range(3)] == [False, False, False]
    assert len(_troubles(logs)) == 1
    file.write_text("good")
    assert [await words.files.refresh() for _ in range(3)] == [True, False, False]


async def test_where_the_kernel_tells_nothing_changes_are_seen_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert LOOK_S < PATIENCE_S
    monkeypatch.setattr(Folders, "watch", lambda *_: False)
    (tmp_path / "file").write_text("one")
    words = Words(tmp_path / "file")
    async with followed(words):
        (tmp_path / "file").write_text("two")
        await until(lambda: words.now == "two")


def test_what_cannot_be_read_at_first_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot read the words in .*none: No such file"):
        Words(tmp_path / "none")


def _troubles(logs: list[EventDict]) -> list[EventDict]:
    return [line for line in logs if line["log_level"] == "error"]
