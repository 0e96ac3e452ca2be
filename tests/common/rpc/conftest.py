"""Every test here proves that it leaves no task behind."""

import pytest

from tests.leaks import no_task_left  # noqa: F401


@pytest.fixture(autouse=True)
def _no_task_left(no_task_left: None) -> None:  # noqa: F811
    """Use the fixture everywhere."""
