"""Structured logs: JSON lines in production, readable ones in development."""

import logging
import sys
from contextlib import suppress
from typing import TextIO

import structlog

OF_OTHERS = ("uvicorn", "uvicorn.error", "uvicorn.access", "ray")
QUIET = ("alembic",)
RAY_WORKER = "ray._private.worker"
NO_SIGTERM = "SIGTERM handler is not set because current thread is not the main thread"


class StandardError:
    """Writes lines; one that can't be written is lost, and nothing fails for it."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def msg(self, line: str) -> None:
        """Write a line."""
        # A pipe that nobody reads any more, or a file that is closed.
        with suppress(OSError, ValueError):
            self._file.write(line + "\n")
            self._file.flush()

    debug = info = warning = error = critical = msg


def configure_logs(*, production: bool, level: str) -> None:
    """Send every log record of the process to standard error, all in one form."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    render: list[structlog.typing.Processor] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
        if production
        else [_console()]
    )
    structlog.configure(
        processors=[*shared, *render],
        # Not by way of `logging`: each request has a line, which takes three times as long there.
        logger_factory=lambda *_: StandardError(sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    adopt_loggers()
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    # Its lines have whole addresses, signatures of files included; ours have not.
    logging.getLogger("uvicorn.access").disabled = True


def adopt_loggers() -> None:
    """Take the loggers of others from their own handlers; Ray makes its own on import.

    What is said once at each start and means nothing is left out.
    """
    for name in OF_OTHERS:
        logging.getLogger(name).handlers = []
        logging.getLogger(name).propagate = True
    logging.getLogger(RAY_WORKER).addFilter(_is_worth_saying)


def _is_worth_saying(record: logging.LogRecord) -> bool:
    """Leave out that Ray took no SIGTERM, which is the server's."""
    return not record.getMessage().startswith(NO_SIGTERM)


def _console() -> structlog.dev.ConsoleRenderer:
    return structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
    )
