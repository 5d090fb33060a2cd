"""What comes from inside the sandbox, checked: sizes, types, lengths. Nothing is believed."""

import math
import re
import signal
from dataclasses import dataclass

from services.executor.interpreter import frames
from services.executor.interpreter.frames import Payload
from services.executor.messages import JSON, CodeError, DisplayData

# Control sequences (ECMA-48, section 5.4), strings such as a window's title, and lone escapes.
_ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?"
    r"|\x1b[ -/]*[0-~]?|[\x07\x08\x80-\x9f]"
)
BUNDLE_BYTES = 10 * 1024 * 1024
BUNDLE_TYPES = 32
BUNDLE_PARTS = 400_000
"""Values in lists and objects that a bundle may hold, about: each costs memory beside its text."""
PART_BYTES = 48
VALUE_CHARACTERS = 32 * 1024
TRACEBACK_CHARACTERS = 128 * 1024
PROMPT_CHARACTERS = 4 * 1024
SMALL_BYTES = 64 * 1024
FRAME_BYTES = {
    frames.DISPLAY: frames.MAX_FRAME,
    frames.ERROR: 4 * 1024 * 1024,
    frames.ASK: SMALL_BYTES,
    frames.INSTALL: SMALL_BYTES,
    frames.SURVEYED: 512 * 1024,
}
"""What each kind may be long; `SMALL_BYTES` for those not named."""
NAME_CHARACTERS = 256
DEPTH = 64
MOST_COUNTED = 2**31 - 1
"""GraphQL's `Int` and the database's integers reach no further; code may set any count."""
MOST_EXIT_CODE = 255
REQUIREMENTS = 50


@dataclass(frozen=True, slots=True)
class Done:
    """A cell came to its end."""

    run: int
    exit_code: int
    raised: str | None
    execution_count: int | None


@dataclass(frozen=True, slots=True)
class Death:
    """An interpreter ended by itself."""

    run: int
    exit_code: int
    """Negative for a signal's number, as `subprocess` has it."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Code asks for a line."""

    number: int
    """Comes back with the answer."""
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


def read(kind: int, body: bytes) -> Payload:
    """Parse a payload whose length its kind allows. Raises `frames.FrameError`."""
    if len(body) > FRAME_BYTES.get(kind, SMALL_BYTES):
        raise frames.FrameError(f"{len(body)} bytes are too many for a frame of kind {kind}")
    return frames.decode(body)


def weigh(body: bytes) -> int:
    """Return the bytes of memory that a JSON payload takes once it is parsed, about."""
    return len(body) + PART_BYTES * _parts(body)


def _parts(body: bytes) -> int:
    return body.count(b",") + body.count(b"[") + body.count(b"{")


def done(payload: Payload) -> Done:
    """Read the end of a cell."""
    raised = payload.get("raised")
    count = _integer(payload.get("execution_count"), 0)
    return Done(
        run=_integer(payload.get("run"), 0),
        exit_code=_integer(payload.get("exit_code"), 1) & 0xFF,
        raised=_text(raised, NAME_CHARACTERS) if raised is not None else None,
        execution_count=count if 0 < count <= MOST_COUNTED else None,
    )


def death(payload: Payload) -> Death:
    """Read the end of an interpreter."""
    exit_code = _integer(payload.get("exit_code"), 1)
    possible = -signal.NSIG < exit_code <= MOST_EXIT_CODE
    return Death(_integer(payload.get("run"), 0), exit_code if possible else 1)


def error(payload: Payload) -> CodeError:
    """Read an exception."""
    return CodeError(
        name=_plain(payload.get("name"), NAME_CHARACTERS) or "Error",
        value=_plain(payload.get("value"), VALUE_CHARACTERS),
        traceback=_plain(payload.get("traceback"), TRACEBACK_CHARACTERS),
    )


def display(body: bytes) -> DisplayData:
    """Read a mime bundle; one over the limits becomes a note that says so, unparsed."""
    if len(body) > BUNDLE_BYTES:
        return _note(body, f"a result of {len(body):,} bytes; there is room for {BUNDLE_BYTES:,}")
    if _parts(body) > BUNDLE_PARTS:
        return _note(body, f"a result of over {BUNDLE_PARTS:,} values")
    try:
        payload = read(frames.DISPLAY, body)
    except frames.FrameError:
        # Deeper, or of longer numbers, than Python reads here.
        return _note(body, "a result that can't be read")
    display_id = payload.get("display_id")
    return DisplayData(
        bundle=_bundle(payload.get("bundle")),
        is_result=payload.get("is_result") is True,
        display_id=_text(display_id, NAME_CHARACTERS) if display_id is not None else None,
    )


def _note(body: bytes, what: str) -> DisplayData:
    is_result = body.startswith(b'{"is_result":true')
    return DisplayData({"text/plain": f"[not shown: {what}]"}, is_result=is_result)


def _bundle(value: object) -> dict[str, JSON]:
    if not isinstance(value, dict) or not value:
        return {"text/plain": "[a display without content]"}
    kinds = sorted(value, key=lambda kind: kind != "text/plain")[:BUNDLE_TYPES]
    return {_text(kind, NAME_CHARACTERS): _json(value[kind], 0) for kind in kinds}


def _json(value: object, depth: int) -> JSON:
    """Return the value without what JSON has not: NaN and infinities become null."""
    if depth > DEPTH:
        return None
    if isinstance(value, str):
        return whole(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list):
        return [_json(item, depth + 1) for item in value]
    if isinstance(value, dict):
        return {whole(str(key)): _json(item, depth + 1) for key, item in value.items()}
    return value if isinstance(value, bool | int) else None


def ask(payload: Payload) -> Ask:
    """Read a question."""
    return Ask(
        _integer(payload.get("number"), 0),
        _text(payload.get("prompt"), PROMPT_CHARACTERS),
        payload.get("password") is True,
    )


def withdrawn(payload: Payload) -> int:
    """Read the number of a question that nobody waits for any more."""
    return _integer(payload.get("number"), 0)


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
    text = whole(value if isinstance(value, str) else "")
    return text if len(text) <= limit else text[:limit] + " [...]"


def _plain(value: object, limit: int) -> str:
    """Return text without what a terminal would take for a command."""
    return _ESCAPES.sub("", _text(value, limit))


def whole(text: str) -> str:
    """Return the text with lone surrogates as U+FFFD: UTF-8 has no place for them."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
