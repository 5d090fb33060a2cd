"""Lines of ours and of others: what is kept, in which form, and what becomes of lost ones."""

import io
import json
import logging
import os
import subprocess
import sys

import pytest
from ray._private import worker

from app.logs import NO_SIGTERM, StandardError, adopt_loggers
from ops.layout import REPOSITORY

PROGRAM = """
import logging, structlog
from app.logs import configure_logs
configure_logs(production=%r, level="INFO")
ours, others = structlog.get_logger("ours"), logging.getLogger("others")
with structlog.contextvars.bound_contextvars(request_id="r-1"):
    ours.info("told", value="\\udc80 \\u20ac", what=object)
    ours.debug("untold")
    others.info("told %%s", "too")
    others.debug("untold")
    try:
        1 / 0
    except ZeroDivisionError as error:
        ours.error("failed", exc_info=error)
        ours.exception("failed")
        others.exception("failed")
"""


def said(*, production: bool) -> list[str]:
    """Return the lines that a process writes."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM % production],
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONIOENCODING": "utf-8:backslashreplace"},
        capture_output=True,
        check=True,
    )
    assert done.stdout == b""
    return done.stderr.decode().splitlines()


def test_all_lines_are_json_in_production() -> None:
    """Ours and those of others, with level, time and the request's id, errors with their trace."""
    lines = [json.loads(line) for line in said(production=True)]

    assert [line["event"] for line in lines] == ["told", "told too", *["failed"] * 3]
    assert [line["level"] for line in lines] == ["info", "info", "error", "error", "error"]
    for line in lines:
        assert line["request_id"] == "r-1"
        assert line["timestamp"].endswith("Z")
    assert lines[0]["value"] == "\udc80 \u20ac"
    for line in lines[2:]:
        assert "ZeroDivisionError: division by zero" in line["exception"]


def test_all_lines_are_readable_in_development() -> None:
    """The same ones."""
    text = "\n".join(said(production=False))

    for part in ("told", "told too", "failed", "request_id=r-1", "ZeroDivisionError"):
        assert part in text
    assert "untold" not in text


class Broken(io.StringIO):
    """A pipe that nobody reads any more."""

    def flush(self) -> None:
        """Fail."""
        raise BrokenPipeError


def test_a_line_that_cannot_be_written_is_lost() -> None:
    """Whoever logs goes on."""
    broken, closed = Broken(), io.StringIO()
    closed.close()
    StandardError(broken).info("tried")
    StandardError(closed).error("lost")

    assert broken.getvalue() == "tried\n"


def test_one_line_of_rays_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    """That Ray sets no handler in this thread is no news; all else that it warns of is."""
    adopt_loggers()
    adopt_loggers()
    logger: logging.Logger = worker.logger
    logger.warning("%s.", NO_SIGTERM)
    logger.warning("The cluster has no room.")

    assert caplog.messages == ["The cluster has no room."]
