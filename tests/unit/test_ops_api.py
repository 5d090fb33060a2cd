"""Where the API is to listen, looked at before anything is set up."""

import socket
from pathlib import Path

import pytest

from ops.api import require_place
from ops.layout import Layout
from ops.say import CannotError
from ops.settings import Settings


def settings_at(port: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Read settings that name a port of this machine."""
    monkeypatch.setenv("API_HOST", "127.0.0.1")
    monkeypatch.setenv("API_PORT", str(port))
    monkeypatch.setenv("DATA_DIR", str(folder))
    settings = Settings.read()
    assert settings.layout == Layout.of(str(folder))
    return settings


def test_a_port_that_is_taken_is_told_before_the_set_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message names the place and the variable; a port that was just left is free."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = settings_at(port, tmp_path, monkeypatch)

        with pytest.raises(CannotError, match="API_PORT") as caught:
            require_place(settings)

    assert f"127.0.0.1:{port}" in str(caught.value)
    require_place(settings)
