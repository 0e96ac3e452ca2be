"""The repository that tests of the shard use, unless they make one of their own."""

from tests.inference.models import repository

__all__ = ["repository"]
