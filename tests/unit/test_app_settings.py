"""Settings: where they come from, and what they refuse."""

from pathlib import Path

import pytest

from app.instance import database_url, open_instance
from app.settings import Settings, SettingsError

PRODUCTION = {
    "ENVIRONMENT": "production",
    "DATABASE_URL": "postgresql://db/x",
    "SUPABASE_JWT_SECRET": "s" * 40,
}


@pytest.fixture
def environ(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """Start from an environment without any of ours, and without `.env`."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setitem(Settings.model_config, "env_file", tmp_path / ".env")
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    return monkeypatch


def test_defaults(environ: pytest.MonkeyPatch) -> None:
    """Nothing need be set in development."""
    environ.setenv("DATABASE_URL", "")

    settings = Settings.read()

    assert (settings.api_host, settings.api_port) == ("127.0.0.1", 8000)
    assert settings.base_url == "http://127.0.0.1:8000"
    assert settings.graphiql_served
    assert settings.images == {"sandbox-api/python:latest": None}


def test_environment_wins_over_file(environ: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A variable of the process counts more than a line of `.env`."""
    (tmp_path / ".env").write_text("API_PORT=1\nMAX_SANDBOXES=7\n")
    environ.setenv("API_PORT", "2")

    settings = Settings.read()

    assert (settings.api_port, settings.max_sandboxes) == (2, 7)


def test_what_production_does_not_show(environ: pytest.MonkeyPatch) -> None:
    """GraphiQL and introspection are off there, unless each is asked for."""
    assert Settings.read().introspection_served
    for name, value in PRODUCTION.items():
        environ.setenv(name, value)
    closed = Settings.read()
    environ.setenv("INTROSPECTION", "true")

    assert (closed.graphiql_served, closed.introspection_served) == (False, False)
    assert Settings.read().introspection_served


def test_lists(environ: pytest.MonkeyPatch) -> None:
    """Origins and images are written between commas; images may have a Dockerfile."""
    environ.setenv("ALLOWED_ORIGINS", "https://a.example, http://b.example:3000")
    environ.setenv("SANDBOX_IMAGES", '{"big": "FROM python:3.12"}')

    settings = Settings.read()

    assert settings.allowed_origins == ("https://a.example", "http://b.example:3000")
    assert settings.images["big"] == "FROM python:3.12"
    environ.setenv("SANDBOX_IMAGES", "one, two")
    assert set(Settings.read().images) == {"one", "two", settings.sandbox_image}


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"DATABASE_URL": ""}, "DATABASE_URL"),
        ({"SUPABASE_JWT_SECRET": ""}, "SUPABASE_JWT_SECRET"),
        ({"SANDBOX_RUNTIME": "runc"}, "SANDBOX_RUNTIME"),
        ({"API_PORT": "x"}, "API_PORT"),
        ({"ENVIRONMENT": "staging"}, "ENVIRONMENT"),
        ({"ALLOWED_ORIGINS": "*"}, "ALLOWED_ORIGINS"),
        ({"ALLOWED_ORIGINS": "example.com"}, "ALLOWED_ORIGINS"),
        ({"SANDBOX_IMAGES": "{"}, "SANDBOX_IMAGES"),
        ({"SECRET_KEY": "tiny"}, "SECRET_KEY"),
    ],
)
def test_production_refuses(
    environ: pytest.MonkeyPatch, changes: dict[str, str], named: str
) -> None:
    """What does not do is said in one line that names the variable, and shows no value."""
    for name, value in {**PRODUCTION, **changes}.items():
        environ.setenv(name, value)

    with pytest.raises(SettingsError, match=named) as caught:
        Settings.read()

    assert "\n" not in str(caught.value)
    assert "postgresql://" not in str(caught.value)
    assert "tiny" not in str(caught.value)


@pytest.mark.usefixtures("environ")
def test_instance_is_made_once(tmp_path: Path) -> None:
    """Name and secrets are made at the first start and are the same afterwards."""
    first, second = open_instance(Settings.read()), open_instance(Settings.read())

    assert first == second
    assert len(first.name) == 8
    assert len(first.secret_key) >= 32
    assert (tmp_path / "data" / "secrets").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "data" / "secrets" / "jwt_secret").stat().st_mode & 0o777 == 0o600


@pytest.mark.usefixtures("environ")
def test_missing_set_up_names_the_remedy() -> None:
    """Without a database of its own started, the command that starts it is named."""
    with pytest.raises(SettingsError, match="make setup"):
        database_url(Settings.read())
