"""Logs: one JSON object a line, without personal data."""

from __future__ import annotations

import logging
import sys
import traceback
from typing import Any

import stamina
import structlog
from structlog.typing import EventDict, WrappedLogger


def configure_logging(service: str, *, level: int = logging.INFO) -> None:
    """Send structlog and the standard library's warnings to standard error, each line naming the service."""
    stamina.instrumentation.set_on_retry_hooks([])  # the usual ones log arguments
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _trace_without_values,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    structlog.contextvars.bind_contextvars(service=service)
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # the fabric reports outages itself
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_WithoutValues("%(levelname)s %(name)s %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])


def _trace_without_values(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Where it failed and with what type: messages of exceptions quote rows and requests, so they stay out."""
    error = event.pop("exc_info", None)
    if error is True:
        error = sys.exc_info()[1]
    if isinstance(error, BaseException):
        event["error"] = type(error).__name__
        event["trace"] = _places(error)
    return event


class _WithoutValues(logging.Formatter):
    """The same for what the standard library logs, such as the error of a task that nobody awaited."""

    def format(self, record: logging.LogRecord) -> str:
        record.exc_text = None  # may be another formatter's
        return super().format(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802 - the library's name
        return f"{type(ei[1]).__name__} at {', '.join(_places(ei[1]))}" if ei[1] else ""


def _places(error: BaseException) -> list[str]:
    frames = traceback.extract_tb(error.__traceback__)
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames[-12:]]
