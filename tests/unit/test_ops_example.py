"""`.env.example`: complete, and true about the defaults."""

import pytest

from app.settings import Settings
from ops.layout import REPOSITORY
from ops.settings import DEFAULT_BASE_IMAGE, read_env_file

# The set-up's own, which the API does not read.
OF_THE_SETUP = {"API_WORKERS": "1", "SANDBOX_BASE_IMAGE": DEFAULT_BASE_IMAGE}


def test_every_setting_is_in_the_example() -> None:
    """What can be set is written there, and nothing that has no effect."""
    written = read_env_file(REPOSITORY / ".env.example")

    assert set(written) == {name.upper() for name in Settings.model_fields} | set(OF_THE_SETUP)
    assert {name: written[name] for name in OF_THE_SETUP} == OF_THE_SETUP


def test_the_example_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Copied as it is, it sets each value to its default."""
    written = read_env_file(REPOSITORY / ".env.example")
    for name in written:
        monkeypatch.delenv(name, raising=False)
    without = Settings(_env_file=None)

    assert Settings(_env_file=REPOSITORY / ".env.example") == without
