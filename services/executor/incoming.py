"""What comes from inside the sandbox, checked: sizes, types, lengths. Nothing is believed."""

import math
from dataclasses import dataclass

from services.executor.interpreter.frames import Payload
from services.executor.messages import JSON, CodeError, DisplayData

BUNDLE_BYTES = 10 * 1024 * 1024
BUNDLE_TYPES = 32
TEXT_CHARACTERS = 1024 * 1024
NAME_CHARACTERS = 256
DEPTH = 64
REQUIREMENTS = 50


@dataclass(frozen=True, slots=True)
class Done:
    """A cell came to its end."""

    run: int
    exit_code: int
    raised: str | None
    execution_count: int | None


@dataclass(frozen=True, slots=True)
class Ask:
    """Code asks for a line."""

    prompt: str
    password: bool


@dataclass(frozen=True, slots=True)
class Install:
    """Code asks for packages, by `%pip install`."""

    number: int
    """Comes back with the answer."""
    requirements: tuple[str, ...]
    upgrade: bool
    quiet: bool


def done(payload: Payload) -> Done:
    """Read the end of a cell."""
    raised = payload.get("raised")
    return Done(
        run=_integer(payload.get("run"), 0),
        exit_code=_integer(payload.get("exit_code"), 1) & 0xFF,
        raised=_text(raised, NAME_CHARACTERS) if raised is not None else None,
        execution_count=_integer(payload.get("execution_count"), 0) or None,
    )


def error(payload: Payload) -> CodeError:
    """Read an exception."""
    return CodeError(
        name=_text(payload.get("name"), NAME_CHARACTERS) or "Error",
        value=_text(payload.get("value"), TEXT_CHARACTERS),
        traceback=_text(payload.get("traceback"), TEXT_CHARACTERS),
    )


def display(payload: Payload, body_bytes: int) -> DisplayData:
    """Read a mime bundle; one over the limit becomes a note that says so."""
    display_id = payload.get("display_id")
    return DisplayData(
        bundle=_bundle(payload.get("bundle"), body_bytes),
        is_result=payload.get("is_result") is True,
        display_id=_text(display_id, NAME_CHARACTERS) if display_id is not None else None,
    )


def _bundle(value: object, body_bytes: int) -> dict[str, JSON]:
    if body_bytes > BUNDLE_BYTES:
        return {
            "text/plain": f"[a result of {body_bytes} bytes is not shown: "
            f"the limit is {BUNDLE_BYTES} bytes]"
        }
    if not isinstance(value, dict) or not value:
        return {"text/plain": "[a display without content]"}
    kinds = sorted(value, key=lambda kind: kind != "text/plain")[:BUNDLE_TYPES]
    return {_text(kind, NAME_CHARACTERS): _json(value[kind], 0) for kind in kinds}


def _json(value: object, depth: int) -> JSON:
    """Return the value without what JSON has not: NaN and infinities become null."""
    if depth > DEPTH:
        return None
    if isinstance(value, str):
        return _whole(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list):
        return [_json(item, depth + 1) for item in value]
    if isinstance(value, dict):
        return {_whole(str(key)): _json(item, depth + 1) for key, item in value.items()}
    return value if isinstance(value, bool | int) else None


def ask(payload: Payload) -> Ask:
    """Read a question."""
    return Ask(_text(payload.get("prompt"), TEXT_CHARACTERS), payload.get("password") is True)


def install(payload: Payload) -> Install:
    """Read a wish for packages; the requirements are checked where they are used."""
    names = payload.get("requirements")
    return Install(
        _integer(payload.get("number"), 0),
        tuple(_text(name, NAME_CHARACTERS) for name in names[: REQUIREMENTS + 1])
        if isinstance(names, list)
        else (),
        upgrade=payload.get("upgrade") is True,
        quiet=payload.get("quiet") is True,
    )


def _integer(value: object, default: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > 2**53:
        return default
    return value


def _text(value: object, limit: int) -> str:
    text = _whole(value if isinstance(value, str) else "")
    return text if len(text) <= limit else text[:limit] + " [...]"


def _whole(text: str) -> str:
    """Return the text with lone surrogates as U+FFFD: UTF-8 has no place for them."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
