"""What services, instances, roles and keys may be called: the same for every registry."""

import re
from typing import Final

from services.common.errors import InvalidRequestError
from services.common.registry.interface import Instance

LEADERS: Final = "leaders"
"""The first word of the keys that hold leadership; not free for configuration."""

MAX_META_PAIRS: Final = 64
MAX_META_KEY: Final = 128
MAX_META_VALUE: Final = 512
MAX_CANDIDATE: Final = 512

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}")
_META_KEY = re.compile(r"[A-Za-z0-9_-]+")
# At most 128 characters, so that the key fits into one file name with each slash as three.
_KEY = re.compile(r"(?=.{1,128}\Z)[A-Za-z0-9_.-]+(?:/[A-Za-z0-9_.-]+)*")


def check_name(name: str, what: str) -> str:
    """Return the name of a service, role or cluster; InvalidRequestError when it is none."""
    if not _NAME.fullmatch(name):
        raise InvalidRequestError(
            f"{name!r} is no name of a {what}: a-z, 0-9 and inner dashes, at most 63 characters"
        )
    return name


def check_key(key: str) -> str:
    """Return a configuration key; InvalidRequestError when it is none."""
    if not _KEY.fullmatch(key) or key.split("/")[0] == LEADERS:
        raise InvalidRequestError(
            f"{key!r} is no configuration key: words of A-Z a-z 0-9 _ . - joined by slashes, "
            f"at most 128 characters, the first word not {LEADERS!r}"
        )
    return key


def check_candidate(candidate: str) -> str:
    """Return the name of a candidate; InvalidRequestError when it is none."""
    if not candidate or len(candidate) > MAX_CANDIDATE:
        raise InvalidRequestError(f"a candidate's name has 1 to {MAX_CANDIDATE} characters")
    return candidate


def check_instance(instance: Instance) -> Instance:
    """Return an instance that every registry can hold; InvalidRequestError otherwise."""
    check_name(instance.service, "service")
    if not _ID.fullmatch(instance.id):
        raise InvalidRequestError(
            f"{instance.id!r} is no instance id: A-Z a-z 0-9 . _ : @ -, at most 128 characters"
        )
    if not instance.host or not 0 < instance.port < 65536:
        raise InvalidRequestError(f"instance {instance.id} needs a host and a port of 1 to 65535")
    if len(instance.meta) > MAX_META_PAIRS:
        raise InvalidRequestError(f"instance {instance.id} has over {MAX_META_PAIRS} meta pairs")
    for key, value in instance.meta.items():
        if not _META_KEY.fullmatch(key) or len(key) > MAX_META_KEY or len(value) > MAX_META_VALUE:
            raise InvalidRequestError(
                f"instance {instance.id}: meta {key!r} is no key of A-Z a-z 0-9 _ - with at most "
                f"{MAX_META_KEY} characters, or its value has over {MAX_META_VALUE}"
            )
    return instance
