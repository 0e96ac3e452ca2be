"""From a URL to where versions lie."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from services.common.errors import InvalidRequestError
from services.common.models.cache import FileCache
from services.common.models.stores.filesystem import Filesystem
from services.common.models.stores.folder import FolderStore
from services.common.models.stores.interface import Store
from services.common.models.stores.objects import ObjectStore
from services.common.settings import CommonSettings, read_settings


def open_store(url: str, cache: FileCache | None = None) -> Store:
    """Return the store at a path, a `file:///path` or any other URL; see ModelRepository.open."""
    parts = urlsplit(url)
    if "://" not in url:
        return _folder(url)
    if parts.scheme == "file":
        if parts.netloc not in ("", "localhost"):
            raise InvalidRequestError(
                f"a model repository on another machine has no file:// URL: {url!r}"
            )
        return _folder(unquote(parts.path))
    if cache is None:
        cache = read_settings(CommonSettings).file_cache()
    return ObjectStore(Filesystem.open(url), cache)


def _folder(path: str) -> Store:
    if not path:
        raise InvalidRequestError("the path of the model repository is empty")
    return FolderStore(Path(path).absolute())
