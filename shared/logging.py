"""Logs: one JSON object a line, whoever wrote it, without personal data."""

from __future__ import annotations

import logging
import sys
import traceback
from typing import Any

import stamina
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger


def configure_logging(service: str, *, level: int = logging.INFO) -> None:
    """Send structlog, and the standard library's warnings, to standard error, each line naming the service."""
    stamina.instrumentation.set_on_retry_hooks([])  # the usual ones log arguments
    structlog.configure(
        processors=[*_everywhere(service), structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # the fabric reports outages itself
    logging.captureWarnings(True)
    root = logging.getLogger()
    for handler in [each for each in root.handlers if isinstance(each, _Lines)]:
        root.removeHandler(handler)
    root.addHandler(_Lines(service))


class _Lines(logging.StreamHandler[Any]):
    """Writes what libraries log by the standard library as the lines that the services write."""

    def __init__(self, service: str) -> None:
        super().__init__(sys.stderr)
        self.setLevel(logging.WARNING)
        self.setFormatter(
            structlog.stdlib.ProcessorFormatter(
                foreign_pre_chain=[structlog.stdlib.add_logger_name, _first_line, *_everywhere(service)],
                processors=[
                    structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                    structlog.processors.JSONRenderer(),
                ],
            )
        )


def _everywhere(service: str) -> list[Processor]:
    def name_service(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event.setdefault("service", service)
        return event

    return [
        structlog.contextvars.merge_contextvars,
        name_service,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _trace_without_values,
    ]


def _first_line(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """What asyncio says of a task that failed goes on, from the second line, with the words of its exception."""
    event["event"] = str(event["event"]).partition("\n")[0]
    event.pop("stack_info", None)
    return event


def _trace_without_values(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Where it failed and with what type: messages of exceptions quote rows and requests, so they stay out."""
    error = event.pop("exc_info", None)
    if error is True:
        error = sys.exc_info()
    if isinstance(error, tuple):
        error = error[1]
    if isinstance(error, BaseException):
        event["error"] = type(error).__name__
        event["trace"] = _places(error)
    return event


def _places(error: BaseException) -> list[str]:
    frames = traceback.extract_tb(error.__traceback__)
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames[-12:]]
