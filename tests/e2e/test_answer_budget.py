"""How large an answer is, or an event, by whatever way what is large is asked for."""

import asyncio
import json
import os
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import httpx

from tests.support.api import Api

MIB = 1024 * 1024
MOST = 64 * MIB
ALIASES = 90
FITS = 23
"""Figures of 2 MiB, in base64."""
CODE = """
from base64 import b64encode
from IPython.display import display
text = 'x' * (2 << 20)
display({'text/plain': text, 'image/png': b64encode(text.encode()).decode()}, raw=True)
print('after')
"""
END = "... on ExecutionFinished { status execution { id } }"


def aliases(field: str) -> str:
    """Write one field under many aliases."""
    return " ".join(f"a{each}: {field}" for each in range(ALIASES))


def running(fields: str) -> str:
    """Write a subscription that runs code and shows these fields of what it displays."""
    shown = f"... on DisplayOutput {{ data {{ {fields} }} }}"
    text = "... on OutputChunk { text }"
    return (
        "subscription ($input: ExecuteCodeInput!) { executeCode(input: $input) "
        f"{{ __typename seq {shown} {text} {END} }} }}"
    )


async def by_socket(
    api: Api, document: str, variables: dict[str, object]
) -> AsyncGenerator[tuple[int, Any], None]:
    """Yield the answers of a subscription with their lengths."""
    async with api.socket() as connection:
        payload = {"query": document, "variables": variables}
        await connection.send(json.dumps({"id": "1", "type": "subscribe", "payload": payload}))
        async for text in connection:
            message = json.loads(text)
            if message["type"] == "complete":
                return
            if message["type"] == "next":
                yield len(text), message["payload"]


async def by_stream(
    api: Api, document: str, variables: dict[str, object]
) -> AsyncGenerator[tuple[int, Any], None]:
    """Yield the same by server-sent events."""
    body = {"query": document, "variables": variables}
    headers = {"Accept": "text/event-stream"}
    async with api.http.stream("POST", "/graphql", json=body, headers=headers) as response:
        async for line in response.aiter_lines():
            if line.startswith("data: "):
                yield len(line), json.loads(line.removeprefix("data: "))


def codes(answer: dict[str, Any]) -> set[str]:
    """Return the codes of an answer's errors."""
    return {error["extensions"]["code"] for error in answer.get("errors", [])}


async def test_a_display_under_many_aliases(api: Api, sandbox: str) -> None:
    """The event comes with its number and what has room; the stream goes on to its end."""
    variables: dict[str, object] = {"input": {"sandboxId": sandbox, "code": CODE}}
    for follow in (by_socket, by_stream):
        async with (
            asyncio.timeout(120),
            aclosing(follow(api, running(aliases("png")), variables)) as source,
        ):
            events = [(size, answer) async for size, answer in source]
        answers = [answer for _, answer in events]
        [shown] = [
            each for each in answers if each["data"]["executeCode"]["__typename"] == "DisplayOutput"
        ]
        figures = shown["data"]["executeCode"]["data"].values()

        assert max(size for size, _ in events) < MOST
        assert sum(figure is not None for figure in figures) == FITS
        assert codes(shown) == {"PAYLOAD_TOO_LARGE"}
        assert len(shown["errors"]) == 10
        assert [each["data"]["executeCode"]["seq"] for each in answers] == list(
            range(1, len(answers) + 1)
        )
        assert answers[-1]["data"]["executeCode"]["status"] == "SUCCEEDED"


async def test_an_event_that_can_not_be_without(api: Api, sandbox: str) -> None:
    """An event that has no room for what may not be null is told by an error; the rest comes."""
    variables: dict[str, object] = {"input": {"sandboxId": sandbox, "code": CODE}}
    async with (
        asyncio.timeout(120),
        aclosing(by_socket(api, running(aliases("bundle")), variables)) as source,
    ):
        events = [(size, answer) async for size, answer in source]
    [refused] = [answer for _, answer in events if answer["data"] is None]
    last = events[-1][1]["data"]["executeCode"]

    assert codes(refused) == {"PAYLOAD_TOO_LARGE"}
    assert refused["errors"][0]["extensions"]["seq"] == 3
    assert max(size for size, _ in events) < MOST
    assert (last["__typename"], last["status"]) == ("ExecutionFinished", "SUCCEEDED")


async def test_file_content_under_many_aliases(api: Api, sandbox: str) -> None:
    """As many copies as have room, however they are asked for; then errors that say so."""
    await api.upload(sandbox, "large.bin", os.urandom(MIB))
    one = f'sandbox(id: "{sandbox}") {{ file(path: "large.bin") {{ {aliases("content")} }} }}'
    each = aliases('file(path: "large.bin") { content }')
    many = f'sandbox(id: "{sandbox}") {{ {each} }}'
    for document in (one, many):
        response: httpx.Response = await api.http.post(
            "/graphql", json={"query": f"{{ {document} }}"}
        )
        answer = response.json()

        assert 60 * MIB < len(response.content) < MOST
        assert codes(answer) == {"PAYLOAD_TOO_LARGE"}
        assert len(answer["errors"]) == 10
