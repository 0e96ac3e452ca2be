"""Hypothesis, the same in every run: `@repeatable` above `@given`.

Another number of examples, and random ones, search further: remove the decorator for that.
"""

from typing import Final

from hypothesis import settings

repeatable: Final = settings(derandomize=True, deadline=None)
