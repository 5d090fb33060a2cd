"""What an operator decides, read once from the environment, which wins, and from `.env`."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, PositiveFloat, PositiveInt, SecretStr, ValidationError, model_validator
from pydantic import field_validator as validates
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from strawberry.http.websocket_origin import normalize_origin

from app.loopback import is_loopback
from ops.layout import REPOSITORY, Layout
from services.keys import MIN_SECRET_BYTES

MIB = 1024 * 1024
DAY_SECONDS = 86_400
ISSUER_PATH = "/auth/v1"
"""Of a Supabase project's Auth service, below its address."""


class SettingsError(Exception):
    """The settings do not allow a start; the message is one line that says what to do."""


class Settings(BaseSettings):
    """All settings; the names of the variables are those of the fields, in capitals."""

    model_config = SettingsConfigDict(
        env_file=REPOSITORY / ".env",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )

    environment: Literal["development", "production"] = "development"
    data_dir: Path = Path(".data")
    api_host: str = "127.0.0.1"
    api_port: Annotated[int, Field(ge=0, le=65_535)] = 8000
    public_url: str = ""
    allowed_origins: Annotated[tuple[str, ...], NoDecode] = ()
    graphiql: bool | None = None
    introspection: bool | None = None
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    supabase_url: str = ""
    supabase_key: SecretStr = SecretStr("")
    supabase_jwt_secret: SecretStr = SecretStr("")
    supabase_jwt_issuer: str = ""
    secret_key: SecretStr = SecretStr("")

    database_url: SecretStr = SecretStr("")
    database_direct_url: SecretStr = SecretStr("")
    database_pool_size: PositiveInt = 10
    ray_address: str = ""

    sandbox_image: str = "sandbox-api/python:latest"
    sandbox_images: Annotated[dict[str, str | None], NoDecode] = Field(default_factory=dict)
    sandbox_runtime: Literal["runsc", "runc"] = "runsc"
    sandbox_node_data_dir: str = ""
    sandbox_start_timeout_seconds: PositiveFloat = 60.0
    sandbox_stop_timeout_seconds: PositiveFloat = 60.0
    sandbox_cpu_reservation: Annotated[float, Field(ge=0)] = 0.05
    sandbox_memory_reservation_mib: Annotated[int, Field(ge=0)] = 256
    sandbox_memory_mib: PositiveInt = 512
    sandbox_cpus: PositiveFloat = 1.0
    sandbox_processes: PositiveInt = 128
    sandbox_disk_mib: PositiveInt = 1024
    sandbox_packages_mib: PositiveInt = 2048

    packages_enabled: bool = True
    package_index_url: str | None = None
    installs_per_minute: PositiveInt = 20

    keeper_lease_seconds: Annotated[float, Field(ge=1)] = 10.0

    max_execution_timeout_seconds: PositiveFloat = 300.0
    idle_timeout_seconds: PositiveFloat = 3_600.0
    max_idle_timeout_seconds: PositiveFloat = 86_400.0
    lifetime_seconds: PositiveFloat = 86_400.0
    max_lifetime_seconds: PositiveFloat = 604_800.0
    retention_days: PositiveFloat = 30.0
    max_upload_mib: PositiveInt = 1024

    max_sandboxes: PositiveInt = 100
    max_running_sandboxes: PositiveInt = 20
    max_concurrent_executions: PositiveInt = 20
    max_connections: PositiveInt = 50
    operations_per_second: PositiveInt = 200
    operations_burst: PositiveInt = 400
    rate_limit_redis_url: SecretStr = SecretStr("")

    @validates("allowed_origins", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return _names(value) if isinstance(value, str) else value

    @validates("sandbox_images", mode="before")
    @classmethod
    def _images(cls, value: object) -> object:
        """Take names between commas, or a JSON object of names with Dockerfiles or null."""
        if not isinstance(value, str):
            return value
        if value.lstrip().startswith("{"):
            return json.loads(value)
        return dict.fromkeys(_names(value))

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        for problem in self._problems():
            raise ValueError(problem)
        return self

    def _problems(self) -> tuple[str, ...]:
        found = []
        if self.production:
            if not self.database_url.get_secret_value():
                found.append("DATABASE_URL is missing: production needs a database")
            if not self.supabase_jwt_secret.get_secret_value() and not self.supabase_url:
                found.append("SUPABASE_JWT_SECRET or SUPABASE_URL is missing: set one of them")
            if self.sandbox_runtime != "runsc":
                found.append("SANDBOX_RUNTIME=runc isolates nothing: production takes runsc only")
        if any(normalize_origin(origin) != origin for origin in self.allowed_origins):
            found.append("ALLOWED_ORIGINS takes origins as `https://example.com`, between commas")
        if self.supabase_url and not self.supabase_url.startswith(("https://", "http://")):
            found.append("SUPABASE_URL takes an address as `https://<project>.supabase.co`")
        if 0 < len(self.secret_key.get_secret_value().encode()) < MIN_SECRET_BYTES:
            found.append(f"SECRET_KEY is too short: give {MIN_SECRET_BYTES} bytes or more")
        return tuple(found)

    @classmethod
    def read(cls) -> Self:
        """Read everything. Raises `SettingsError` with one line."""
        try:
            return cls()
        except ValidationError as error:
            raise SettingsError("; ".join(_line(item) for item in error.errors())) from error
        except ValueError as error:
            raise SettingsError(str(error).splitlines()[0]) from error

    @property
    def production(self) -> bool:
        """Whether others depend on this instance."""
        return self.environment == "production"

    @property
    def guessable_jwt_secret(self) -> bool:
        """Whether SUPABASE_JWT_SECRET is shorter than HS256 wants it (RFC 7518, section 3.2)."""
        return 0 < len(self.supabase_jwt_secret.get_secret_value().encode()) < MIN_SECRET_BYTES

    @property
    def token_issuer(self) -> str | None:
        """The `iss` that tokens must have; None where any will do."""
        if self.supabase_jwt_issuer:
            return self.supabase_jwt_issuer
        return self.supabase_url.rstrip("/") + ISSUER_PATH if self.supabase_url else None

    @property
    def graphiql_served(self) -> bool:
        """Whether browsers get GraphiQL: in development, or where it is asked for."""
        return not self.production if self.graphiql is None else self.graphiql

    @property
    def graphiql_has_token(self) -> bool:
        """Whether GraphiQL may have a token: in development, unless clients come from elsewhere.

        Each request has to be from this machine besides; see `app.loopback`.
        """
        return not self.production and is_loopback(urlsplit(self.base_url).hostname or "")

    @property
    def introspection_served(self) -> bool:
        """Whether the API tells its own schema: in development, or where it is asked for."""
        return not self.production if self.introspection is None else self.introspection

    @property
    def base_url(self) -> str:
        """Where clients reach the API, without a slash at the end."""
        if self.public_url:
            return self.public_url.rstrip("/")
        host = "127.0.0.1" if self.api_host in {"0.0.0.0", "::"} else self.api_host  # noqa: S104
        return f"http://{f'[{host}]' if ':' in host else host}:{self.api_port}"

    @property
    def layout(self) -> Layout:
        """Where this instance's files are."""
        return Layout.of(self.data_dir)

    @property
    def images(self) -> Mapping[str, str | None]:
        """The images that a user may name; the default one is always among them."""
        return {self.sandbox_image: None, **self.sandbox_images}


def _names(value: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in value.split(",") if name.strip())


def _line(error: Mapping[str, object]) -> str:
    """Say one problem without the value, which may be a secret."""
    message = str(error["msg"]).removeprefix("Value error, ")
    place = error["loc"]
    names = ".".join(str(part) for part in place) if isinstance(place, tuple) else ""
    return f"{names.upper()}: {message}" if names else message
