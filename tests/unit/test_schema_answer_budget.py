"""The limit of an answer's bytes."""

from base64 import b64encode
from binascii import a2b_base64
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import orjson
import pytest

from app.json_text import encode
from resolvers.context import Context
from schema.answer_budget import (
    KEPT_BYTES,
    MAX_TOLD,
    AnswerBudget,
    AnswerTooLargeError,
    size_in_json,
)
from schema.build import build_schema
from services.executor import messages
from services.limits import MAX_ANSWER_BYTES, MIB
from tests.support.stub_services import Stubs, execution, sandbox, viewer

SCHEMA = build_schema()
ROOM = MAX_ANSWER_BYTES - KEPT_BYTES
TEXT = "x" * (2 * MIB)
FITS = ROOM // len(TEXT)
ALIASES = 90


def aliases(field: str, number: int = ALIASES) -> str:
    """Write one field under so many aliases."""
    return " ".join(f"a{each}: {field}" for each in range(number))


def context(stubs: Stubs) -> Context:
    """Ask as a user."""
    return Context(stubs.services(), "request", viewer())


async def follow(stubs: Stubs, fields: str) -> AsyncIterator[Any]:
    """Follow code by fields of an event."""
    document = (
        f'subscription {{ executeCode(input: {{sandboxId: "x", code: "1"}}) {{ {fields} }} }}'
    )
    async with aclosing(await SCHEMA.stream(document, context_value=context(stubs))) as results:
        async for result in results:
            yield result


def display(bundle: dict[str, messages.JSON], seq: int = 1) -> messages.Display:
    """Make the event of something shown."""
    return messages.Display(seq, 1.0, messages.DisplayData(bundle, is_result=True))


def finished(seq: int) -> messages.Finished:
    """Make an end."""
    return messages.Finished(
        seq, 1.0, messages.ExecutionStatus.SUCCEEDED, 0, 1.0, interpreter_restarted=False
    )


@pytest.mark.parametrize(
    "value",
    [
        "a" * 300,
        '"\\\n\x00\x1f' * 100,
        "é€😀" * 70_000,
        b"a" * 301,
        {"text/plain": ["\n", 1.5, None]},
        {"n": 2**70},
        "\ud800" * 300,
    ],
)
def test_measure(value: object) -> None:
    """A value is measured as it is sent, or as somewhat more."""
    sent = encode(b64encode(value).decode() if isinstance(value, bytes) else value)

    assert len(sent) - 2 <= size_in_json(value) <= 2 * len(sent)


def test_texts_are_measured_only_near_the_limit() -> None:
    """What is plain fits to the last byte, though it is counted by the most at first."""
    budget = AnswerBudget(3 * MIB)

    for _ in range(4):
        budget.take("x" * (MIB // 2 - 2))
    with pytest.raises(AnswerTooLargeError, match="3 MiB"):
        budget.take("x" * 300)
    budget.take("small values have room still")


def test_control_characters_count_as_they_are_sent() -> None:
    """Six bytes each, of large texts and of small ones."""
    large, small = AnswerBudget(2 * MIB), AnswerBudget(2 * MIB)

    with pytest.raises(AnswerTooLargeError):
        large.take("\x00" * (MIB // 5))
    for _ in range(2 * MIB // 255 // 6):
        small.take("\x00" * 255)
    with pytest.raises(AnswerTooLargeError):
        small.take("\x00" * 255)


def test_long_names_count() -> None:
    """The names of fields are part of the answer."""
    budget = AnswerBudget(2 * MIB)

    for _ in range(20):
        budget.take_names(["a" * 100_000])
    with pytest.raises(AnswerTooLargeError):
        budget.take_names(["a" * 100_000])


async def test_many_aliases_of_a_text() -> None:
    """As many as have room are sent; the errors are few, and the event has its number."""
    stubs = Stubs()
    stubs.executions.events = [display({"text/plain": TEXT}), display({"text/plain": "7"}, 2)]
    fields = f"... on DisplayOutput {{ data {{ {aliases('text')} }} }} seq"

    first, second = [result async for result in follow(stubs, fields)]
    event = first.data["executeCode"]
    shown = [text for text in event["data"].values() if text is not None]

    assert (len(shown), event["seq"], len(first.errors)) == (FITS, 1, MAX_TOLD)
    assert first.errors[0].path == ["executeCode", "data", f"a{FITS}"]
    assert first.errors[0].extensions == {
        "code": "PAYLOAD_TOO_LARGE",
        "limitBytes": MAX_ANSWER_BYTES,
        "executionId": str(stubs.executions.record.id),
        "seq": 1,
    }
    assert len(orjson.dumps(first.data)) < MAX_ANSWER_BYTES
    assert second.errors is None
    assert second.data["executeCode"]["data"]["a0"] == "7"


async def test_refused_where_null_may_not_stand() -> None:
    """An event that can't be without a value is null with one error; the stream goes on."""
    stubs = Stubs()
    png = b64encode(bytes(2 * MIB)).decode()
    stubs.executions.events = [display({"image/png": png}), finished(2)]
    bundles = f"... on DisplayOutput {{ data {{ {aliases('bundle')} }} }} seq"

    first, second = [result async for result in follow(stubs, bundles)]

    assert first.data is None
    assert [error.extensions["seq"] for error in first.errors] == [1]
    assert second.data == {"executeCode": {"seq": 2}}


async def test_base64_is_not_decoded_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once there is no room, a figure is refused before it is converted."""
    decoded = Counter[str]()

    def decode(text: str) -> bytes:
        decoded[text] += 1
        return a2b_base64(text)

    monkeypatch.setattr("schema.display.binascii.a2b_base64", decode)
    stubs = Stubs()
    png = b64encode(bytes(2 * MIB)).decode()
    stubs.executions.events = [display({"image/png": png})]
    fields = f"... on DisplayOutput {{ data {{ {aliases('png')} }} }}"

    [result] = [result async for result in follow(stubs, fields)]

    assert decoded[png] == ROOM // len(png)
    assert len(result.errors) == MAX_TOLD


async def test_the_end_is_told_without_its_record() -> None:
    """`ExecutionFinished` comes though what is asked of its record is too large."""
    stubs = Stubs()
    stubs.executions.record = execution(stdout=TEXT)
    stubs.executions.events = [finished(1)]
    fields = f"... on ExecutionFinished {{ execution {{ {aliases('stdout')} }} status }} seq"

    [result] = [result async for result in follow(stubs, fields)]

    assert result.data == {"executeCode": {"execution": None, "status": "SUCCEEDED", "seq": 1}}
    assert [error.extensions["code"] for error in result.errors] == ["PAYLOAD_TOO_LARGE"]


async def test_a_largest_chunk_always_comes() -> None:
    """However often it is asked for: 64 Ki characters, each of them six bytes."""
    stubs = Stubs()
    text = "\x00" * (64 * 1024)
    stubs.executions.events = [messages.Output(1, 1.0, messages.OutputStream.STDOUT, text)]

    [result] = [
        result async for result in follow(stubs, f"... on OutputChunk {{ {aliases('text', 100)} }}")
    ]

    assert result.errors is None


async def test_metadata_of_many_rows() -> None:
    """A query has one answer: rows and aliases together."""
    stubs = Stubs()
    stubs.sandboxes.known = [sandbox(metadata={"k": "v" * (MIB // 4)}) for _ in range(20)]
    query = "{ sandboxes(first: 20) { nodes { {} } } }"

    one = await SCHEMA.execute(
        query.replace("{}", aliases("metadata", 10)), context_value=context(stubs)
    )
    many = await SCHEMA.execute(
        query.replace("{}", aliases("metadata", 20)), context_value=context(stubs)
    )

    assert one.errors is None
    assert many.data is None
    assert many.errors is not None
    assert [(error.extensions or {})["code"] for error in many.errors] == ["PAYLOAD_TOO_LARGE"]
