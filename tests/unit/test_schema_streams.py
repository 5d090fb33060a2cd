"""Streams: they begin before they are handed out, and close what they opened."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest
from strawberry.types.execution import ExecutionResult, PreExecutionError

from resolvers.context import Context
from resolvers.streams import OpenedStream
from schema.build import build_schema
from services.errors import NotFoundError
from services.executor import messages
from services.limits import MAX_READ_BYTES
from tests.support.stub_services import Stubs, sandbox, viewer

SCHEMA = build_schema()
FOLLOW = """subscription { executeCode(input: {sandboxId: "x", code: "1"}) {
    __typename seq at
    ... on ExecutionQueued { position }
    ... on OutputChunk { stream text }
    ... on DisplayOutput { data { text isResult } }
    ... on OutputCleared { wait }
    ... on InputRequested { prompt password }
    ... on OutputGap { fromSeq droppedBytes }
    ... on ExecutionErrored { error { name value traceback } }
    ... on ExecutionFinished { status exitCode durationMs interpreterRestarted
        execution { stdout } } } }"""


async def stream(stubs: Stubs, document: str = FOLLOW) -> AsyncIterator[Any]:
    """Follow code, or something else, as a user."""
    context = Context(stubs.services(), "request", viewer())
    found = await SCHEMA.stream(document, context_value=context)
    async with aclosing(found) as results:
        async for result in results:
            yield result


EVENTS: list[tuple[messages.Event, dict[str, Any]]] = [
    (messages.Queued(1, 1.0, 2), {"__typename": "ExecutionQueued", "position": 2}),
    (messages.Started(2, 1.0), {"__typename": "ExecutionStarted"}),
    (
        messages.Output(3, 1.0, messages.OutputStream.STDERR, "é\n"),
        {"__typename": "OutputChunk", "stream": "STDERR", "text": "é\n"},
    ),
    (
        messages.Display(4, 1.0, messages.DisplayData({"text/plain": "7"}, is_result=True)),
        {"__typename": "DisplayOutput", "data": {"text": "7", "isResult": True}},
    ),
    (messages.Cleared(5, 1.0, wait=True), {"__typename": "OutputCleared", "wait": True}),
    (
        messages.InputRequested(6, 1.0, "name? ", password=False),
        {"__typename": "InputRequested", "prompt": "name? ", "password": False},
    ),
    (
        messages.Gap(9, 1.0, 7, 2**40),
        {"__typename": "OutputGap", "fromSeq": 7, "droppedBytes": 2.0**40},
    ),
    (
        messages.Errored(10, 1.0, messages.CodeError("ValueError", "no", "Traceback")),
        {
            "__typename": "ExecutionErrored",
            "error": {"name": "ValueError", "value": "no", "traceback": "Traceback"},
        },
    ),
    (
        messages.Finished(
            11, 1.0, messages.ExecutionStatus.FAILED, 1, 2.5, interpreter_restarted=False
        ),
        {
            "__typename": "ExecutionFinished",
            "status": "FAILED",
            "exitCode": 1,
            "durationMs": 2.5,
            "interpreterRestarted": False,
            "execution": {"stdout": "out"},
        },
    ),
]


async def test_events() -> None:
    """Every event of the executor has its type, its number and its time."""
    stubs = Stubs()
    stubs.executions.events = [event for event, _ in EVENTS]

    seen = [result.data["executeCode"] async for result in stream(stubs)]

    at = "1970-01-01T00:00:01+00:00"
    assert seen == [{"seq": event.seq, "at": at, **shown} for event, shown in EVENTS]
    assert stubs.executions.closed == 1


async def test_refusal_is_an_error_of_the_request() -> None:
    """What is refused before the first event never becomes a stream."""
    stubs = Stubs()
    stubs.executions.refusal = NotFoundError("There is no such sandbox.")

    results = [result async for result in stream(stubs)]

    assert len(results) == 1
    assert isinstance(results[0], PreExecutionError)
    assert results[0].errors is not None
    assert results[0].errors[0].extensions == {"code": "NOT_FOUND"}
    assert stubs.executions.closed == 1


async def test_fault_in_the_stream_is_masked() -> None:
    """An error in the middle is told like any other, and ends the stream."""
    stubs = Stubs()
    stubs.executions.events = [messages.Started(1, 1.0)]
    stubs.executions.fault = RuntimeError("secret")

    results: list[ExecutionResult] = [result async for result in stream(stubs)]

    assert len(results) == 2
    assert results[1].errors is not None
    assert "secret" not in str(results[1].errors)
    assert (results[1].errors[0].extensions or {})["code"] == "INTERNAL_SERVER_ERROR"


async def test_leaving_closes_the_source() -> None:
    """Who stops reading closes what was opened for him."""
    stubs = Stubs()
    stubs.executions.events = [messages.Started(1, 1.0)]
    stubs.executions.endless = True

    results = stream(stubs)
    await anext(results)
    assert stubs.executions.closed == 0
    await results.aclose()  # type: ignore[attr-defined] # it is a generator

    assert stubs.executions.closed == 1


async def test_unread_stream_closes_its_source() -> None:
    """A stream that nobody ever read closes its source all the same."""
    closed = []

    async def source() -> AsyncGenerator[int, None]:
        try:
            yield 1
            yield 2
        finally:
            closed.append(True)

    stream = (await OpenedStream.open(source())).map(str)
    await stream.aclose()

    assert closed == [True]
    with pytest.raises(StopAsyncIteration):
        await anext(stream)


async def test_each_event_has_a_budget_of_its_own() -> None:
    """A subscription that shows executions goes on however much it has shown."""
    stubs = Stubs()
    stubs.sandboxes.known = [sandbox() for _ in range(3)]
    stubs.executions.large_bytes = MAX_READ_BYTES
    document = "subscription { sandboxChanged { sandbox { executions { nodes { stdout } } } } }"
    results = [result async for result in stream(stubs, document)]

    assert [result.errors for result in results] == [None] * 3
