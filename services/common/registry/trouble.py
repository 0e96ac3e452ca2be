"""Logging what is tried again and again: one line when it begins to fail, one when it works."""

import logging


class Trouble:
    """The trouble of one watch, campaign or registration."""

    def __init__(self, logger: logging.Logger, what: str) -> None:
        self._logger = logger
        self._what = what
        self._error: str | None = None

    def __bool__(self) -> bool:
        """It fails at present."""
        return self._error is not None

    def is_on(self, error: Exception) -> None:
        """It failed; logged unless it failed in the same way before."""
        if self._error != str(error):
            self._error = str(error)
            self._logger.warning("%s: %s; it is tried again", self._what, error)

    def is_over(self) -> None:
        """It worked."""
        if self._error is not None:
            self._error = None
            self._logger.info("%s: works again", self._what)
