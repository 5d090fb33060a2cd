"""The settings that set-up reads."""

from pathlib import Path

import pytest

from ops.settings import Settings, read_env_file


def test_env_files_are_read_as_shells_do(tmp_path: Path) -> None:
    """Quotes, comments, `export` and blanks are understood."""
    path = tmp_path / ".env"
    path.write_text(
        "# comment\nA=1\nexport B='two words' # why\n C = \"x=y\" \nD=plain # why\nE=\nno line\n"
    )

    assert read_env_file(path) == {"A": "1", "B": "two words", "C": "x=y", "D": "plain", "E": ""}
    assert read_env_file(tmp_path / "none") == {}


@pytest.mark.parametrize(
    ("environ", "postgres", "ray"),
    [
        ({}, True, True),
        ({"DATABASE_URL": "postgresql://h/d", "RAY_ADDRESS": "auto"}, False, False),
        ({"ENVIRONMENT": "production", "RAY_ADDRESS": ""}, False, True),
    ],
)
def test_what_is_given_is_not_started(environ: dict[str, str], postgres: bool, ray: bool) -> None:  # noqa: FBT001 - cases
    """Postgres is embedded in development only, and where none is named; Ray where none is."""
    settings = Settings.read(environ)

    assert settings.embedded_postgres is postgres
    assert settings.local_ray is ray


@pytest.mark.parametrize(
    ("name", "value"),
    [("API_PORT", "http"), ("API_PORT", "65536"), ("API_PORT", "0"), ("API_WORKERS", "0")],
)
def test_a_number_that_is_none_is_said(name: str, value: str) -> None:
    """A wrong number is named with its variable."""
    with pytest.raises(ValueError, match=f"{name} is '{value}'"):
        Settings.read({name: value})
