"""What set-up has made in DATA_DIR: the secrets, and where Postgres and Ray are."""

import secrets
from dataclasses import dataclass
from pathlib import Path

from app.settings import Settings, SettingsError
from ops.layout import Layout, write_once

OWNER_ONLY = 0o600


@dataclass(frozen=True)
class Instance:
    """What one instance is told apart by, and signs with."""

    name: str
    jwt_secret: str | None
    """None where tokens are verified by SUPABASE_URL's keys alone."""
    secret_key: bytes
    data_dir: Path


def open_instance(settings: Settings) -> Instance:
    """Read the instance's name and secrets, making in development those that are missing.

    Raises `SettingsError` where production lacks one, or where DATA_DIR can't be used.
    """
    layout = settings.layout
    try:
        layout.data_dir.mkdir(parents=True, exist_ok=True)
        layout.secrets.mkdir(mode=0o700, exist_ok=True)
        return Instance(
            name=layout.instance(),
            jwt_secret=_jwt_secret(settings, layout),
            secret_key=_secret_key(settings, layout),
            data_dir=layout.data_dir,
        )
    except OSError as error:
        raise SettingsError(f"DATA_DIR {layout.data_dir} can't be used: {error}") from error


def _jwt_secret(settings: Settings, layout: Layout) -> str | None:
    given = settings.supabase_jwt_secret.get_secret_value()
    if given:
        return given
    return None if settings.production else _kept(layout.jwt_secret)


def _secret_key(settings: Settings, layout: Layout) -> bytes:
    given = settings.secret_key.get_secret_value()
    return (given or _kept(layout.secret_key)).encode()


def _kept(path: Path) -> str:
    """Return a secret of this instance's; it is made once, whichever process comes first."""
    if not path.exists():
        write_once(path, secrets.token_hex(32), OWNER_ONLY)
    return path.read_text(encoding="utf-8").strip()


def database_url(settings: Settings) -> str:
    """Return the database's address. Raises `SettingsError` where set-up has not run."""
    given = settings.database_url.get_secret_value()
    return given or _state(settings.layout, "postgres", "url", "database")


def ray_address(settings: Settings) -> str:
    """Return Ray's address. Raises `SettingsError` where set-up has not run."""
    return settings.ray_address or _state(settings.layout, "ray", "address", "Ray cluster")


def _state(layout: Layout, name: str, key: str, what: str) -> str:
    value = layout.read_state(name).get(key)
    if not isinstance(value, str):
        raise SettingsError(f"No {what} has been started for {layout.data_dir}: run `make setup`.")
    return value
