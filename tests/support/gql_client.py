"""`python -m tests.support.gql_client KIND`: gql for Python taken through the clients' scenario.

The steps and what each prints are those of `tests/clients/scenario.mjs`.
"""

import asyncio
import base64
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, cast

import httpx
import jwt
from gql import Client, GraphQLRequest
from gql.transport.aiohttp import AIOHTTPTransport
from gql.transport.async_transport import AsyncTransport
from gql.transport.exceptions import (
    TransportConnectionFailed,
    TransportQueryError,
)
from gql.transport.httpx import HTTPXAsyncTransport
from gql.transport.websockets import WebsocketsTransport

from tests.support.faults import eventually

Json = dict[str, Any]
KINDS: dict[str, Callable[..., AsyncTransport]] = {
    "gql-httpx": HTTPXAsyncTransport,
    "gql-aiohttp": AIOHTTPTransport,
}
"""What queries and mutations take; subscriptions take a websocket."""
NOBODY = "00000000-0000-4000-8000-000000000000"
VIEWER = "{ viewer { id } }"
CREATE = "mutation { createSandbox(input: {start: true}) { sandbox { id } } }"
DELETE = "mutation($id: ID!) { deleteSandbox(input: {sandboxId: $id}) { deletedSandboxId } }"
UPLOAD = "mutation($input: UploadFileInput!) { uploadFile(input: $input) { file { path } } }"
RECORD = "query($id: ID!) { execution(id: $id) { status stdout } }"
COUNT = """query($id: ID!) {
  sandbox(id: $id) { executions { totalCount } file(path: "runs") { content } } }"""
EXECUTE = """subscription($input: ExecuteCodeInput!) { executeCode(input: $input) {
  __typename executionId seq ... on OutputChunk { text } ... on ExecutionFinished { status } } }"""


class Desk:
    """What the test behind this program does: signs tokens, cuts connections."""

    def __init__(self, address: str) -> None:
        self._http = httpx.AsyncClient(base_url=address)
        self._token = ""
        self._expires = 0.0
        self._seconds = 600.0
        self.signed = 0

    async def ask(self, what: str, **values: float) -> str:
        """Have it done, and return what it says."""
        answer = await self._http.post(f"/{what}", params=values)
        return answer.raise_for_status().text

    async def token(self) -> str:
        """Return a token that is good now."""
        if self._expires - 0.5 < time.time():
            self._token = await self.ask("token", seconds=self._seconds)
            self._expires = jwt.decode(self._token, options={"verify_signature": False})["exp"]
            self._seconds = 600.0
            self.signed += 1
        return self._token

    def shorten(self, seconds: float) -> None:
        """Have the next token, and no other, be good for so long only."""
        self._expires, self._seconds = 0.0, seconds


def close_code(error: BaseException) -> int:
    """Return the code that a websocket was closed with."""
    inner = error.__cause__
    received = getattr(inner, "rcvd", None)
    return int(received.code) if received is not None else 1006


class Page:
    """What a program does with gql: a session an answer, and one an attempt to follow."""

    def __init__(self, kind: str, url: str, desk: Desk) -> None:
        self._http = KINDS[kind]
        self._url = url
        self._desk = desk

    async def ask(self, document: str, **variables: object) -> Json:
        """Run a query or mutation."""
        headers = {"Authorization": f"Bearer {await self._desk.token()}"}
        async with Client(transport=self._http(url=self._url, headers=headers)) as session:
            return cast(
                "Json", await session.execute(GraphQLRequest(document, variable_values=variables))
            )

    async def events(self, **values: object) -> AsyncIterator[Json]:
        """Run code and yield its events, for as long as one websocket lasts."""
        transport = WebsocketsTransport(
            url=self._url.replace("http", "ws", 1),
            init_payload={"Authorization": f"Bearer {await self._desk.token()}"},
        )
        request = GraphQLRequest(EXECUTE, variable_values={"input": values})
        async with (
            Client(transport=transport) as session,
            aclosing(session.subscribe(request)) as answers,
        ):
            async for answer in answers:
                yield answer["executeCode"]

    async def follow(self, closes: list[int], **values: object) -> AsyncIterator[Json]:
        """Yield every event once, over lost websockets and expired tokens."""
        after, finished = 0, False
        while not finished:
            try:
                async for event in self.events(**values, after=after):
                    after, finished = event["seq"], event["__typename"] == "ExecutionFinished"
                    yield event
            except TransportConnectionFailed as error:
                closes.append(close_code(error))


class Scenario:
    """The steps, in their order."""

    def __init__(self, page: Page, desk: Desk) -> None:
        self._page = page
        self._desk = desk
        self.sandbox = ""

    async def query(self) -> Json:
        """Ask for the viewer."""
        return {"viewer": (await self._page.ask(VIEWER))["viewer"]["id"]}

    async def mutation(self) -> Json:
        """Make the sandbox of the other steps."""
        self.sandbox = (await self._page.ask(CREATE))["createSandbox"]["sandbox"]["id"]
        return {"sandboxId": self.sandbox}

    async def error(self) -> Json:
        """Do what can't be done, both ways."""

        async def run() -> None:
            async for _ in self._page.events(sandboxId=NOBODY, code="1"):
                pass

        return {
            "code": await _code(self._page.ask(DELETE, id=NOBODY)),
            "streamed": await _code(run()),
        }

    async def live(self) -> Json:
        """Follow code to its end."""

        async def nothing(_: list[int]) -> None:
            pass

        return await self._followed("live", nothing)

    async def cancel(self) -> Json:
        """Leave in the middle."""
        event: Json = {}
        async with aclosing(cast("Any", self._page.events(**self._input("cancel")))) as events:
            async for event in events:
                if event.get("text"):
                    break
        await eventually(lambda: self._desk.ask("released", held=0), lambda free: free == "true")
        await self._let_go("cancel")
        record = await eventually(
            lambda: self._page.ask(RECORD, id=event["executionId"]),
            lambda seen: bool(seen["execution"]["status"] != "RUNNING"),
        )
        return {**record["execution"], "later": len([later async for later in events])}

    async def expiry(self) -> Json:
        """Follow on over a token's end."""

        async def expire(closes: list[int]) -> None:
            await eventually(_copy(closes), lambda seen: 4403 in seen)

        self._desk.shorten(3)
        return await self._followed("expiry", expire)

    async def cut(self) -> Json:
        """Follow on over a lost connection."""

        async def cut(closes: list[int]) -> None:
            await self._desk.ask("cut")
            await eventually(_copy(closes), bool)

        return await self._followed("cut", cut)

    async def _followed(self, name: str, meanwhile: Callable[[list[int]], Awaitable[None]]) -> Json:
        events: list[Json] = []
        closes: list[int] = []

        tell = events.append

        async def follow() -> None:
            async for event in self._page.follow(closes, **self._input(name)):
                tell(event)

        following = asyncio.create_task(follow())
        await eventually(_copy(events), lambda seen: following.done() or bool(_text(seen)))
        live, signed = _text(events), self._desk.signed
        await meanwhile(closes)
        await self._let_go(name)
        await following
        found = (await self._page.ask(COUNT, id=self.sandbox))["sandbox"]
        return {
            "live": live,
            "seqs": [event["seq"] for event in events],
            "text": _text(events),
            "status": events[-1]["status"],
            "executions": found["executions"]["totalCount"],
            "runs": base64.b64decode(found["file"]["content"]).decode().split("\n").count(name),
            "closes": closes,
            "faults": [],
            "signed": self._desk.signed - signed,
        }

    def _input(self, name: str) -> Json:
        code = (
            f"import os, time\nwith open('runs', 'a') as runs: print('{name}', file=runs)\n"
            "print('before', flush=True)\n"
            f"while not os.path.exists('{name}'): time.sleep(0.02)\nprint('after')"
        )
        return {"sandboxId": self.sandbox, "code": code, "clientExecutionId": name}

    async def _let_go(self, name: str) -> None:
        values = {"sandboxId": self.sandbox, "path": name, "content": ""}
        await self._page.ask(UPLOAD, input=values)


async def _code(asked: Awaitable[object]) -> str:
    try:
        await asked
    except TransportQueryError as error:
        return str((error.errors or [{}])[0]["extensions"]["code"])
    return "none"


def _copy[T](seen: list[T]) -> Callable[[], Awaitable[list[T]]]:
    async def copy() -> list[T]:
        return list(seen)

    return copy


def _text(events: list[Json]) -> str:
    return "".join(event.get("text", "") for event in events)


async def main(kind: str) -> None:
    """Go through all steps, and print a line of JSON for each."""
    desk = Desk(os.environ["DESK"])
    page = Page(kind, os.environ["URL"], desk)
    scenario = Scenario(page, desk)
    for step in ("query", "mutation", "error", "live", "cancel", "expiry", "cut"):
        seen = await getattr(scenario, step)()
        sys.stdout.write(json.dumps({"step": step, **seen}) + "\n")
    await page.ask(DELETE, id=scenario.sandbox)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
