"""The repository that tests of the gateway use, unless they make one of their own."""

from tests.inference.models import repository

__all__ = ["repository"]
