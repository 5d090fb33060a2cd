"""The few settings that set-up itself needs; the API reads all of them by itself."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ops.layout import DEFAULT_DATA_DIR, REPOSITORY, Layout

if TYPE_CHECKING:
    from pathlib import Path

DEFAULT_BASE_IMAGE = "python:3.12-slim"
LAST_PORT = 65_535
# What the API, which refuses all that is neither, takes for yes.
ON = ("1", "true", "t", "yes", "y", "on")


@dataclass(frozen=True)
class Settings:
    """Read once, from the environment, which wins, and `.env`."""

    layout: Layout
    host: str
    port: int
    workers: int
    environment: str
    database_url: str
    ray_address: str
    base_image: str
    graphiql: bool

    @classmethod
    def read(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """Settings of this process; raises `ValueError` where a number is none."""
        values = {
            **read_env_file(REPOSITORY / ".env"),
            **(os.environ if environ is None else environ),
        }
        environment = values.get("ENVIRONMENT") or "development"
        return cls(
            layout=Layout.of(values.get("DATA_DIR") or DEFAULT_DATA_DIR),
            host=values.get("API_HOST") or "127.0.0.1",
            port=_number(values, "API_PORT", 8000, least=1, most=LAST_PORT),
            workers=_number(values, "API_WORKERS", 1, least=1),
            environment=environment,
            database_url=values.get("DATABASE_URL", ""),
            ray_address=values.get("RAY_ADDRESS", ""),
            base_image=values.get("SANDBOX_BASE_IMAGE") or DEFAULT_BASE_IMAGE,
            graphiql=_switch(values, "GRAPHIQL", default=environment != "production"),
        )

    @property
    def embedded_postgres(self) -> bool:
        """Whether this instance has a Postgres of its own."""
        return not self.database_url and self.environment != "production"

    @property
    def local_ray(self) -> bool:
        """Whether this instance has a Ray head of its own."""
        return not self.ray_address


def read_env_file(path: Path) -> dict[str, str]:
    """`NAME=value` lines, with `export`, quotes and comments as shells have them."""
    values = {}
    for line in path.read_text().splitlines() if path.exists() else ():
        name, equals, value = line.strip().partition("=")
        if not equals or name.startswith("#"):
            continue
        values[name.removeprefix("export ").strip()] = _unquoted(value.strip())
    return values


def _unquoted(value: str) -> str:
    if value[:1] in ("'", '"') and value[0] in value[1:]:
        return value[1 : value.index(value[0], 1)]
    return value.partition(" #")[0].strip()


def _switch(values: Mapping[str, str], name: str, *, default: bool) -> bool:
    text = values.get(name, "").lower()
    return text in ON if text else default


def _number(
    values: Mapping[str, str],
    name: str,
    default: int,
    *,
    least: int = 0,
    most: int | None = None,
) -> int:
    text = values.get(name) or str(default)
    if not text.isdecimal() or int(text) < least or (most is not None and int(text) > most):
        bounds = f"from {least} on" if most is None else f"from {least} to {most}"
        raise ValueError(f"{name} is {text!r}, and must be a whole number {bounds}.")
    return int(text)
