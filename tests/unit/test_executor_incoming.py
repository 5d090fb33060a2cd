"""What comes from inside a sandbox, where nothing is to be believed."""

import asyncio
import json
import math
import pickle
import socket
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.executor import incoming
from services.executor.attached import DOCKER_HEADER, ERROR_BYTES, DockerStream
from services.executor.interpreter import frames
from services.executor.messages import DisplayData

ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(codec=None), max_size=20)
    | st.sampled_from(["\ud800", "a\udfffb", "\x00", "\x1b[31m"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(codec=None), max_size=8), inner, max_size=4)
    ),
    max_leaves=20,
)
NAMES = [
    "run", "exit_code", "raised", "execution_count", "name", "value", "traceback", "display_id",
    "bundle", "is_result", "prompt", "password", "requirements", "upgrade", "quiet",
]  # fmt: skip


def shown(payload: object) -> DisplayData:
    """Read a display as it comes: as bytes."""
    return incoming.display(json.dumps(payload).encode())


@pytest.mark.parametrize("count", [0, -1, 2**31, 2**53, 2**64, True, "1", None])
def test_counts_that_nothing_could_hold_are_none(count: object) -> None:
    """Code may set any execution count; one that GraphQL and the database lack is none."""
    assert incoming.done({"execution_count": count}).execution_count is None
    assert incoming.done({"execution_count": 2**31 - 1}).execution_count == 2**31 - 1


@pytest.mark.parametrize("code", [-65, -(2**31), 256, 2**40, "9", None, 1.5])
def test_exit_codes_that_no_process_has_are_one(code: object) -> None:
    """A signal's number or a byte is believed of an interpreter's end; all else is 1."""
    assert incoming.death({"exit_code": code}).exit_code == 1
    assert [incoming.death({"exit_code": each}).exit_code for each in (-9, 0, 255)] == [-9, 0, 255]


@settings(max_examples=400)
@given(st.dictionaries(st.sampled_from(NAMES), ANYTHING))
def test_no_payload_is_too_strange(payload: dict[str, Any]) -> None:
    """Fields of every wrong type and value become something sound; nothing is raised."""
    done = incoming.done(payload)
    read = [
        done,
        incoming.error(payload),
        shown(payload),
        incoming.ask(payload),
        incoming.install(payload),
    ]

    assert 0 <= done.exit_code <= 255
    assert done.execution_count is None or 0 < done.execution_count < 2**31
    assert -65 < incoming.death(payload).exit_code <= 255
    assert isinstance(done.run, int)
    assert isinstance(incoming.ask(payload).password, bool)
    for one in read:
        # What UTF-8 or JSON has no form for would fail much later, far from here.
        repr(one).encode()
        pickle.dumps(one)
    json.dumps(shown(payload).bundle, allow_nan=False, ensure_ascii=False).encode()


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, 1e400])
def test_what_json_has_no_number_for_is_null(number: float) -> None:
    """NaN and infinities in a bundle become null."""
    bundle = {"application/json": {"deep": [number, 1.5]}}

    assert shown({"bundle": bundle}).bundle == {"application/json": {"deep": [None, 1.5]}}


def test_a_deep_bundle_is_cut() -> None:
    """Nesting over the bound ends in null instead of a deep recursion."""
    deep: Any = "bottom"
    for _ in range(500):
        deep = [deep]
    bundle = shown({"bundle": {"application/json": deep}}).bundle

    assert "bottom" not in repr(bundle)
    assert repr(bundle).count("[") <= incoming.DEPTH + 1


def test_a_large_bundle_is_a_note() -> None:
    """A display over the limit says so instead of vanishing."""
    size = incoming.BUNDLE_BYTES + 1
    [note] = incoming.display(b" " * size).bundle.values()

    assert f"{size:,}" in str(note)


def test_a_bundle_of_too_many_values_is_never_parsed() -> None:
    """Nested lists that would take fifty times their text become a note, and weigh much."""
    body = b'{"bundle":{"application/json":[' + b"[]," * 500_000 + b"[]]}}"
    [note] = incoming.display(body).bundle.values()

    assert "values" in str(note)
    assert incoming.weigh(body) > 20 * len(body)


@pytest.mark.parametrize("kind", [frames.DONE, frames.CLEAR, frames.ASK, frames.SURVEYED])
def test_a_frame_longer_than_its_kind_allows_is_none(kind: int) -> None:
    """What no honest interpreter sends is refused before it is parsed."""
    with pytest.raises(frames.FrameError):
        incoming.read(kind, b" " * 600_000)


def test_a_bundle_has_a_bounded_number_of_types() -> None:
    """Of very many types some are kept, `text/plain` among them."""
    bundle = {f"x/{number}": "" for number in range(1000)} | {"text/plain": "kept"}
    kept = shown({"bundle": bundle}).bundle

    assert len(kept) == incoming.BUNDLE_TYPES
    assert kept["text/plain"] == "kept"


@pytest.mark.parametrize("bundle", [None, [], {}, "text", 5, True])
def test_a_display_without_a_bundle_is_told(bundle: object) -> None:
    """Something that is no bundle still shows that there was a display."""
    assert shown({"bundle": bundle}).bundle == {"text/plain": "[a display without content]"}


def test_texts_are_cut_at_their_bounds() -> None:
    """Names and texts of any length become bounded ones."""
    error = incoming.error({"name": "N" * 10**6, "value": "v" * 10**7, "traceback": "t" * 10**7})

    assert len(error.name) <= incoming.NAME_CHARACTERS + 6
    assert len(error.value) <= incoming.VALUE_CHARACTERS + 6
    assert len(error.traceback) <= incoming.TRACEBACK_CHARACTERS + 6
    wish = incoming.install({"requirements": ["x" * 10**6] * 10**4})
    assert len(wish.requirements) == incoming.REQUIREMENTS + 1
    assert max(map(len, wish.requirements)) <= incoming.NAME_CHARACTERS + 6


@pytest.mark.parametrize("value", [True, "1", 1.0, None, [], 2**60, -(2**60)])
def test_a_run_number_is_a_whole_number(value: object) -> None:
    """Whatever is no sensible integer matches no run."""
    assert incoming.done({"run": value}).run == 0


FRAMES = [(frames.DONE, b""), (frames.OUTPUT, b"\x01abc"), (frames.ERROR, b"{}" * 50), (0xFF, b"z")]


def test_frames_are_the_same_wherever_the_stream_is_cut() -> None:
    """A stream cut at every byte gives the same frames."""
    stream = b"".join(frames.pack(kind, body) for kind, body in FRAMES)
    for cut in range(len(stream) + 1):
        parser = frames.Parser()
        assert parser.feed(stream[:cut]) + parser.feed(stream[cut:]) == FRAMES
    parser = frames.Parser()

    assert [frame for byte in stream for frame in parser.feed(bytes([byte]))] == FRAMES


def test_a_frame_over_the_limit_is_refused_by_its_header() -> None:
    """A length over the limit is an error before any of its payload has come."""
    parser = frames.Parser(limit=100)

    assert parser.feed(frames.pack(1, b"x" * 100)) == [(1, b"x" * 100)]
    with pytest.raises(frames.FrameError, match="101"):
        parser.feed(frames.HEADER.pack(101, 1))
    with pytest.raises(frames.FrameError):
        frames.Parser().feed(b"\xff" * 5)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"[]", b"1", b"null", b'"x"', b"{", b"\xff\xfe", b"nan", b'{"a":}',
        b"[" * 200_000, b'{"a":' * 200_000, b'{"a":' + b"9" * 10_000 + b"}",
    ],
)  # fmt: skip
def test_a_payload_that_is_no_object_is_a_broken_frame(body: bytes) -> None:
    """Every body that is no JSON object, however it is broken, gives one kind of error."""
    with pytest.raises(frames.FrameError):
        frames.decode(body)


@given(st.dictionaries(st.text(st.characters(codec=None)), ANYTHING, max_size=4))
def test_any_payload_can_be_framed(payload: dict[str, Any]) -> None:
    """Lone surrogates and any other text come through as valid UTF-8."""
    [(kind, body)] = frames.Parser().feed(frames.encode(frames.DISPLAY, payload))
    body.decode()

    assert kind == frames.DISPLAY
    assert len(frames.decode(body)) <= len(payload)


async def test_dockers_stream_is_taken_apart_at_any_cut() -> None:
    """Frames come whole out of Docker's multiplexed stream, errors beside them, bounded."""
    stream = b"".join(frames.pack(kind, body) for kind, body in FRAMES)
    parts = [(1, stream[:7]), (2, b"e" * 5000), (1, stream[7:]), (2, b"f" * 50_000)]
    raw = b"".join(DOCKER_HEADER.pack(kind, len(data)) + data for kind, data in parts)
    for size in (1, 3, 7, 1000, len(raw)):
        ours, theirs = socket.socketpair()
        ours.close()
        theirs.close()
        streams = DockerStream(ours)
        found = [
            frame
            for start in range(0, len(raw), size)
            for frame in streams.feed(raw[start : start + size])
        ]
        assert found == FRAMES
        assert streams.errors == b"e" * 5000 + b"f" * (ERROR_BYTES - 5000)
    await asyncio.sleep(0)
