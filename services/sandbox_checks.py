"""Checks of what `createSandbox`, `updateSandbox` and the list's filter take."""

import json
from collections.abc import Mapping
from datetime import datetime

from services.checks import check_seconds, check_text
from services.entities import Sandbox, SandboxFilter, SandboxStatus
from services.errors import BadUserInputError
from services.executor.messages import JSON
from services.limits import (
    MAX_METADATA_KEY_CHARACTERS,
    MAX_METADATA_PAIRS,
    MAX_METADATA_VALUE_CHARACTERS,
    MAX_NAME_CHARACTERS,
)
from services.settings import SessionSettings, TimeSettings

SHORTEST_TIMEOUT_SECONDS = 1.0
SHOWN_CHARACTERS = 40


def check_name(name: str | None) -> str | None:
    """Return a sandbox's name."""
    return None if name is None else check_text(name, "name", longest=MAX_NAME_CHARACTERS)


def check_metadata(metadata: JSON) -> dict[str, str]:
    """Return metadata: an object of strings to strings; null is an empty one."""
    if metadata is None:
        return {}
    if not isinstance(metadata, dict):
        raise _metadata_error("is no object: send string-to-string pairs")
    if len(metadata) > MAX_METADATA_PAIRS:
        raise _metadata_error(f"has {len(metadata)} pairs: {MAX_METADATA_PAIRS} are allowed")
    return dict(_pair(key, value) for key, value in metadata.items())


def _pair(key: str, value: JSON) -> tuple[str, str]:
    if not isinstance(value, str):
        raise _metadata_error(f"has a value that is no string, of {_short(key)}: quote it")
    longest = MAX_METADATA_KEY_CHARACTERS
    check_text(key, "metadata", longest=longest, shortest=1, part=f", the key {_short(key)},")
    longest = MAX_METADATA_VALUE_CHARACTERS
    check_text(value, "metadata", longest=longest, part=f", the value of {_short(key)},")
    return key, value


def _short(key: str) -> str:
    shown = key if len(key) <= SHOWN_CHARACTERS else f"{key[:SHOWN_CHARACTERS]}..."
    return json.dumps(shown)


def _metadata_error(what: str) -> BadUserInputError:
    return BadUserInputError(f"`metadata` {what}.", field="metadata")


def check_image(image: str | None, settings: SessionSettings) -> str:
    """Return the image, the default one where none is named."""
    if image is None or image == settings.default_image:
        return settings.default_image
    if image not in settings.images:
        allowed = ", ".join(sorted({settings.default_image, *settings.images}))
        raise BadUserInputError(f"`image` is not one of those allowed: {allowed}.", field="image")
    return image


def check_idle_timeout(seconds: float | None, times: TimeSettings) -> float:
    """Return the idle time-out in seconds, the default where none is given."""
    return check_seconds(
        times.idle_timeout_seconds if seconds is None else seconds,
        "idleTimeoutSeconds",
        shortest=SHORTEST_TIMEOUT_SECONDS,
        longest=times.max_idle_timeout_seconds,
    )


def check_lifetime(seconds: float | None, times: TimeSettings) -> float:
    """Return the lifetime in seconds, the default where none is given."""
    return check_seconds(
        times.lifetime_seconds if seconds is None else seconds,
        "lifetimeSeconds",
        shortest=SHORTEST_TIMEOUT_SECONDS,
        longest=times.max_lifetime_seconds,
    )


def check_age(sandbox: Sandbox, now: datetime) -> None:
    """Refuse a lifetime that is over already; only a RUNNING sandbox has an age."""
    if sandbox.status is not SandboxStatus.RUNNING or sandbox.started_at is None:
        return
    age = (now - sandbox.started_at).total_seconds()
    lifetime = sandbox.limits.lifetime_seconds
    if lifetime <= age:
        raise BadUserInputError(
            f"`lifetimeSeconds` is {lifetime:g}, and the sandbox has run for {int(age)} s: at least"
            f" {int(age) + 1} is allowed, and `stopSandbox` ends it now.",
            field="lifetimeSeconds",
        )


def check_filter(wanted: SandboxFilter) -> SandboxFilter:
    """Return a filter whose texts the database can compare."""
    metadata: Mapping[str, str] | None = None
    if wanted.metadata is not None:
        metadata = check_metadata(dict(wanted.metadata))
    if wanted.name_contains is not None:
        check_text(wanted.name_contains, "nameContains", longest=MAX_NAME_CHARACTERS)
    return SandboxFilter(
        statuses=wanted.statuses, metadata=metadata, name_contains=wanted.name_contains
    )
