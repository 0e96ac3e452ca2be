"""Structured logs on standard error, one line an event.

Whatever has something to say comes in the same form: structlog, the logging of libraries and
Python's warnings.
"""

import logging
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, Final, TypeAlias

import structlog

from services.common.tracing.span import CURRENT

Fields: TypeAlias = MutableMapping[str, Any]

FIRST: Final = ("timestamp", "level", "service", "instance", "event", "request_id")
"""Fields that most lines have, in this order; then come the event's own."""


def configure_logging(log_format: str = "", level: str = "info", **fields: str) -> None:
    """Set up the logs of this process: "text" for people, "json" for collectors.

    Without a format it is text where standard error is a terminal. Every line of JSON has
    `fields`, which none of its own hides; text is for those who know which process they look at.
    """
    if not log_format:
        log_format = "text" if sys.stderr.isatty() else "json"
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        _add_request,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    rendering = _json(fields) if log_format == "json" else _text()
    structlog.configure(
        processors=[*shared, *rendering],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[level.upper()]
        ),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    foreign = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(foreign)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    logging.captureWarnings(True)


def _add_request(logger: Any, method: str, event: Fields) -> Fields:
    """Name the request that the code at work is for, where the line does not do it itself."""
    if request_id := CURRENT.get().context.request_id:
        event.setdefault("request_id", request_id)
    return event


# Tracebacks are without the values of variables: these may be keys, or megabytes of pixels.


def _text() -> list[Any]:
    return [
        structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    ]


def _json(fields: Mapping[str, str]) -> list[Any]:
    tracebacks = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)

    def complete(logger: Any, method: str, event: Fields) -> Fields:
        whole = {**event, **fields}
        return {name: whole.pop(name) for name in FIRST if name in whole} | whole

    return [
        structlog.processors.ExceptionRenderer(tracebacks),
        complete,
        structlog.processors.JSONRenderer(),
    ]
