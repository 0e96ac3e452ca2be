"""Throwing files out of memory."""

from pathlib import Path

from benchmarks.page_cache import evict_everything


def test_files_stay_as_they_were_and_broken_links_do_no_harm(tmp_path: Path) -> None:
    file = tmp_path / "folder" / "file"
    file.parent.mkdir()
    file.write_bytes(b"content")
    (tmp_path / "link").symlink_to("nowhere")
    evict_everything(tmp_path)
    assert file.read_bytes() == b"content"
