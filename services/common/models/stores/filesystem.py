"""An fsspec filesystem as an object store: bounded in time, with errors that people understand."""

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Self

from services.common.errors import ConfigurationError, InvalidRequestError, UnavailableError

CALL_S: Final = 15.0
"""How long one call of an asynchronous filesystem (s3, gs, abfs) may take; others, such as sftp,
have limits of their own."""

BYTES_PER_S: Final = 2**18
"""A transfer may take CALL_S and its size divided by this."""

PACKAGES: Final[Mapping[str, str]] = {"s3": "'facet[s3]'", "s3a": "'facet[s3]'"}
"""What to install for a protocol, where it is one of our extras."""

PART: Final = ".part"
"""Ends the names of files that are being written, where a file appears before it is whole."""

Info = Mapping[str, Any]
"""What a listing tells of a file: `size` in bytes, and what else the filesystem knows."""


class Filesystem:
    """The files below one URL, by paths relative to it.

    fsspec is imported with the first of these, and what a protocol needs with it: processes whose
    repository is a folder do without. What asynchronous filesystems do runs on fsspec's own
    thread.
    """

    def __init__(self, url: str, fs: Any, root: str) -> None:
        self.url = url
        self._fs = fs
        self._prefix = root.rstrip("/") + "/"

    @classmethod
    def open(cls, url: str) -> Self:
        """Return the filesystem of a URL, configured as fsspec is: by FSSPEC_* and its files.

        Raises InvalidRequestError for a protocol that fsspec does not know, ConfigurationError
        when what it needs is not installed or its configuration is wrong.
        """
        from fsspec.core import url_to_fs
        from fsspec.registry import known_implementations, registry

        protocol = url.split("://", 1)[0].split("::", 1)[0]
        if protocol not in known_implementations and protocol not in registry:
            raise InvalidRequestError(
                f"a model repository is a folder, or a URL that fsspec knows: not {url!r}"
            )
        try:
            fs, root = url_to_fs(url, use_listings_cache=False)
        except ImportError as error:
            package = PACKAGES.get(protocol)
            hint = f"pip install {package}" if package else str(error)
            raise ConfigurationError(
                f"the model repository {url} needs a package that is not installed: {hint}",
                reason="PACKAGE_MISSING",
            ) from error
        except Exception as error:  # filesystems raise many kinds for their configuration
            raise ConfigurationError(
                f"the model repository {url} cannot be opened: {_reason(error)}"
            ) from error
        return cls(url.rstrip("/"), fs, root)

    @property
    def local(self) -> Path | None:
        """The folder, where it is one of this machine's."""
        protocols = self._fs.protocol
        is_local = "file" in ([protocols] if isinstance(protocols, str) else protocols)
        return Path(self._prefix) if is_local else None

    def names(self) -> list[str]:
        """Return what lies right below, files and folders, sorted; nothing when it is missing."""
        try:
            found = self._call("ls", self._prefix.rstrip("/"), detail=False)
        except FileNotFoundError:
            return []
        names = (str(path).rstrip("/").rpartition("/")[2] for path in found)
        return sorted(name for name in names if not name.endswith(PART))

    def find(self, folder: str = "") -> dict[str, Info]:
        """Return all files below a folder; none when there is no such folder.

        One listing, never an old one. Raises UnavailableError, as all methods do, also when what
        holds the folder (a bucket) does not exist.
        """
        try:
            found = self._call("find", self._full(folder).rstrip("/"), detail=True)
        except FileNotFoundError as error:
            raise self._unavailable(_reason(error)) from error
        return {
            name.removeprefix(self._prefix): info
            for name, info in found.items()
            if name.startswith(self._prefix) and info["type"] == "file"
        }

    def size(self, path: str) -> int:
        """Return a file's size in bytes; FileNotFoundError when there is none."""
        return int(self._call("info", self._full(path))["size"])

    def read(self, path: str) -> bytes:
        """Return a small file; FileNotFoundError when there is none."""
        return bytes(self._call("cat_file", self._full(path)))

    def read_range(self, path: str, start: int, end: int) -> bytes:
        """Return the bytes from `start` up to `end` of a file, which are there."""
        content = self._call("cat_file", self._full(path), size=end - start, start=start, end=end)
        return bytes(content)

    def download(self, path: str, local: Path) -> None:
        """Write a file, which is there, to one of this machine's."""
        self._call("get_file", self._full(path), str(local), size=self.size(path))

    def upload(self, local: Path, path: str) -> None:
        """Write a file, in place of what is there."""
        self._call("put_file", str(local), self._full(path), size=local.stat().st_size)

    def write(self, path: str, content: bytes) -> None:
        """Write a file, in place of what is there; nobody ever finds a part of it."""
        full = self._full(path)
        if self._fs.async_impl:  # stores of objects, which appear whole
            self._call("pipe_file", full, content, size=len(content))
            return
        self._make_folder_of(full)
        try:
            self._call("pipe_file", full + PART, content)
            self._call("mv", full + PART, full)
        except BaseException:
            with suppress(FileNotFoundError, UnavailableError):
                self._call("rm_file", full + PART)
            raise

    def create(self, path: str, content: bytes) -> None:
        """Write a small file that does not exist yet; FileExistsError when it does.

        Of several at once one succeeds. Whoever gets no answer, or is told that the file exists
        because a request was repeated on the way, looks at what is there: it is told the truth as
        long as no two write the same content.
        """
        self._make_folder_of(self._full(path))
        try:
            self._call("pipe_file", self._full(path), content, mode="create")
        except (FileExistsError, UnavailableError) as error:
            try:
                found = self.read(path)
            except FileNotFoundError:
                raise error from None
            if found != content:
                raise FileExistsError(f"{self.url}/{path}") from error

    def delete(self, path: str) -> None:
        """Delete a file, if there is one."""
        try:
            self._call("rm_file", self._full(path))
        except FileNotFoundError:
            return

    def delete_tree(self, path: str) -> None:
        """Delete a file, or a folder with all that is in it, if there is one."""
        with suppress(FileNotFoundError):
            self._call("rm", self._full(path), recursive=True)

    def _make_folder_of(self, full: str) -> None:
        if not self._fs.async_impl:  # stores of objects have no folders
            self._call("makedirs", full.rpartition("/")[0], exist_ok=True)

    def _full(self, path: str) -> str:
        return self._prefix + path

    def _call(self, method: str, *arguments: Any, size: int = 0, **options: Any) -> Any:
        """Call a method that moves `size` bytes."""
        if self._fs.async_impl:
            options["timeout"] = CALL_S + size / BYTES_PER_S
        try:
            return getattr(self._fs, method)(*arguments, **options)
        except (FileNotFoundError, FileExistsError):
            raise
        except Exception as error:  # each filesystem has kinds of its own
            raise self._unavailable(_reason(error)) from error

    def _unavailable(self, reason: str) -> UnavailableError:
        return UnavailableError(
            f"the model repository {self.url} cannot be used: {reason}",
            reason="REPOSITORY_UNAVAILABLE",
        )


def _reason(error: BaseException) -> str:
    if isinstance(error, TimeoutError) and not str(error):
        return "it did not answer in time"
    strerror = getattr(error, "strerror", None)
    return " ".join(str(strerror or error or repr(error)).split())


def modified_at(info: Info) -> float | None:
    """Return when a file was written (UNIX time), if its filesystem tells."""
    for key in ("LastModified", "last_modified", "updated", "mtime", "created"):
        value = info.get(key)
        if isinstance(value, datetime):
            return value.timestamp()
        if isinstance(value, int | float):
            return float(value)
    return None
