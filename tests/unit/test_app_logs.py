"""What of the log lines of others is kept."""

import logging

import pytest
from ray._private import worker

from app.logs import NO_SIGTERM, adopt_loggers


def test_one_line_of_rays_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    """That Ray sets no handler in this thread is no news; all else that it warns of is."""
    adopt_loggers()
    adopt_loggers()
    logger: logging.Logger = worker.logger
    logger.warning("%s.", NO_SIGTERM)
    logger.warning("The cluster has no room.")

    assert caplog.messages == ["The cluster has no room."]
