"""A client of the API as a frontend is one: queries over HTTP, subscriptions over a websocket."""

import asyncio
import base64
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from types import TracebackType
from typing import Any, Self

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

Json = dict[str, Any]
SECONDS = 60.0

EVENT_FIELDS = """
  __typename executionId seq at
  ... on ExecutionQueued { position }
  ... on OutputChunk { stream text }
  ... on DisplayOutput { data { isResult displayId text html png formats bundle } }
  ... on OutputCleared { wait }
  ... on InputRequested { prompt password }
  ... on OutputGap { fromSeq droppedBytes }
  ... on ExecutionErrored { error { name value traceback } }
  ... on ExecutionFinished {
    status exitCode durationMs interpreterRestarted
    execution {
      id status exitCode stdout stderr outputTruncated lastSeq executionCount durationMs
      clientExecutionId code kind error { name value traceback } results { text isResult }
    }
  }
"""
EXECUTE = (
    f"subscription($input: ExecuteCodeInput!) {{ executeCode(input: $input) {{ {EVENT_FIELDS} }} }}"
)
INSTALL = (
    "subscription($input: InstallPackagesInput!) "
    f"{{ installPackages(input: $input) {{ {EVENT_FIELDS} }} }}"
)
FOLLOW = (
    "subscription($id: ID!, $after: Int!) "
    f"{{ executionEvents(executionId: $id, after: $after) {{ {EVENT_FIELDS} }} }}"
)
SANDBOX_FIELDS = "id name status statusReason image metadata expiresAt startedAt lastActiveAt"


class GraphQLError(Exception):
    """The first error of an answer."""

    def __init__(self, error: Json) -> None:
        super().__init__(error["message"])
        self.message: str = error["message"]
        self.extensions: Json = error.get("extensions") or {}

    @property
    def code(self) -> str:
        """The error's code."""
        return str(self.extensions.get("code"))


class Run:
    """All events of one execution."""

    def __init__(self, events: list[Json]) -> None:
        self.events = events

    def of(self, typename: str) -> list[Json]:
        """The events of a type."""
        return [event for event in self.events if event["__typename"] == typename]

    def text(self, stream: str = "STDOUT") -> str:
        """What one stream said."""
        return "".join(e["text"] for e in self.of("OutputChunk") if e["stream"] == stream)

    @property
    def stdout(self) -> str:
        """Standard output."""
        return self.text()

    @property
    def finished(self) -> Json:
        """The last event."""
        return self.of("ExecutionFinished")[0]

    @property
    def status(self) -> str:
        """The execution's status at its end."""
        return str(self.finished["status"])

    @property
    def id(self) -> str:
        """The execution's id."""
        return str(self.events[0]["executionId"])

    @property
    def error(self) -> Json:
        """What the code raised."""
        error: Json = self.of("ExecutionErrored")[0]["error"]
        return error

    @property
    def result(self) -> str:
        """The last expression's value, as text."""
        return str(
            next(e["data"]["text"] for e in self.of("DisplayOutput") if e["data"]["isResult"])
        )


class Live:
    """An execution while it is being followed."""

    def __init__(self, source: AsyncGenerator[Json, None], field: str) -> None:
        self._source = source
        self._field = field
        self.events: list[Json] = []

    async def next(self) -> Json:
        """Wait for the next event, within a minute; raises `StopAsyncIteration` at the end."""
        async with asyncio.timeout(SECONDS):
            event: Json = (await anext(self._source))[self._field]
        self.events.append(event)
        return event

    async def until(self, typename: str, text: str = "") -> Json:
        """Wait for an event of a type, whose text holds this."""
        while True:
            event = await self.next()
            if event["__typename"] == typename and text in event.get("text", ""):
                return event

    async def end(self) -> Run:
        """Collect what is left and return everything."""
        try:
            while True:
                await self.next()
        except StopAsyncIteration:
            return Run(self.events)


class Api:
    """One user at one server."""

    def __init__(self, url: str, token: str | None) -> None:
        """Send the token with everything; None sends none."""
        self.url = url
        self.token = token
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self.http = httpx.AsyncClient(base_url=url, headers=headers, timeout=SECONDS)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.http.aclose()

    async def answer(self, document: str, **variables: object) -> Json:
        """Run a query or mutation and return the whole answer."""
        # As ASCII, so that even half a surrogate pair can be sent.
        body = json.dumps({"query": document, "variables": variables})
        headers = {"Content-Type": "application/json"}
        response = await self.http.post("/graphql", content=body, headers=headers)
        answer: Json = response.json()
        return answer

    async def query(self, document: str, **variables: object) -> Json:
        """Run a query or mutation and return its data; raises `GraphQLError`."""
        answer = await self.answer(document, **variables)
        if answer.get("errors"):
            raise GraphQLError(answer["errors"][0])
        data: Json = answer["data"]
        return data

    async def mutate(self, field: str, fields: str, **values: object) -> Json:
        """Run a mutation of one input and return its payload."""
        kind = field[0].upper() + field[1:] + "Input"
        document = f"mutation($input: {kind}!) {{ {field}(input: $input) {{ {fields} }} }}"
        payload: Json = (await self.query(document, input=values))[field]
        return payload

    async def create(self, *, start: bool = True, **values: object) -> str:
        """Create a sandbox and return its id."""
        made = await self.mutate(
            "createSandbox", f"sandbox {{ {SANDBOX_FIELDS} }}", start=start, **values
        )
        return str(made["sandbox"]["id"])

    async def delete(self, sandbox: str) -> None:
        """Delete a sandbox."""
        await self.mutate("deleteSandbox", "deletedSandboxId", sandboxId=sandbox)

    async def change(self, action: str, sandbox: str) -> Json:
        """Start, stop or restart a sandbox, by the mutation's name, and return it."""
        payload = await self.mutate(action, f"sandbox {{ {SANDBOX_FIELDS} }}", sandboxId=sandbox)
        changed: Json = payload["sandbox"]
        return changed

    async def sandbox(self, sandbox: str, fields: str = SANDBOX_FIELDS) -> Json:
        """Read a sandbox."""
        document = f"query($id: ID!) {{ sandbox(id: $id) {{ {fields} }} }}"
        found: Json = (await self.query(document, id=sandbox))["sandbox"]
        return found

    @asynccontextmanager
    async def socket(self) -> AsyncIterator[ClientConnection]:
        """Open an initialised websocket."""
        address = self.url.replace("http", "ws", 1) + "/graphql"
        protocol = Subprotocol("graphql-transport-ws")
        async with connect(address, subprotocols=[protocol], max_size=None) as connection:
            payload = {} if self.token is None else {"Authorization": f"Bearer {self.token}"}
            await connection.send(json.dumps({"type": "connection_init", "payload": payload}))
            message = json.loads(await connection.recv())
            if message["type"] != "connection_ack":
                raise RuntimeError(f"no acknowledgement but {message}")
            yield connection

    async def subscribe(self, document: str, **variables: object) -> AsyncGenerator[Json, None]:
        """Yield the data of each event; raises `GraphQLError`."""
        async with self.socket() as connection:
            payload = {"query": document, "variables": variables}
            await connection.send(json.dumps({"id": "1", "type": "subscribe", "payload": payload}))
            async for text in connection:
                message = json.loads(text)
                if message["type"] == "complete":
                    return
                if message["type"] == "ping":
                    await connection.send(json.dumps({"type": "pong"}))
                elif message["type"] == "error":
                    raise GraphQLError(message["payload"][0])
                elif message["type"] == "next":
                    answer = message["payload"]
                    if answer.get("errors"):
                        raise GraphQLError(answer["errors"][0])
                    yield answer["data"]

    async def events(self, document: str, field: str, **variables: object) -> Run:
        """Collect a subscription's events, within a minute."""
        async with asyncio.timeout(SECONDS * 2):
            return Run([data[field] async for data in self.subscribe(document, **variables)])

    async def run(self, sandbox: str, code: str, **values: object) -> Run:
        """Run code and collect its events."""
        values |= {"sandboxId": sandbox, "code": code}
        return await self.events(EXECUTE, "executeCode", input=values)

    async def install(self, sandbox: str, *packages: str, **values: object) -> Run:
        """Install packages and collect the events."""
        values |= {"sandboxId": sandbox, "packages": packages}
        return await self.events(INSTALL, "installPackages", input=values)

    async def follow(self, execution: str, after: int = 0) -> Run:
        """Collect an execution's events from a point on."""
        return await self.events(FOLLOW, "executionEvents", id=execution, after=after)

    @asynccontextmanager
    async def following(
        self, document: str, field: str, **variables: object
    ) -> AsyncGenerator[Live, None]:
        """Follow a subscription for the length of a block; leaving it closes the socket."""
        async with aclosing(self.subscribe(document, **variables)) as source:
            yield Live(source, field)

    @asynccontextmanager
    async def live(self, sandbox: str, code: str, **values: object) -> AsyncGenerator[Live, None]:
        """Run code and follow it for the length of a block."""
        values |= {"sandboxId": sandbox, "code": code}
        async with self.following(EXECUTE, "executeCode", input=values) as live:
            yield live

    async def upload(self, sandbox: str, path: str, content: bytes = b"") -> Json:
        """Write a file and return it as the API shows it."""
        encoded = base64.b64encode(content).decode()
        values = {"sandboxId": sandbox, "path": path, "content": encoded}
        written: Json = (await self.mutate("uploadFile", "file { path sizeBytes }", **values))[
            "file"
        ]
        return written

    async def download(self, sandbox: str, path: str) -> bytes | None:
        """Read a file inline; None where there is none, or where it is too large for that."""
        document = "query($id: ID!, $p: String!) { sandbox(id: $id) { file(path: $p) { content }}}"
        file = (await self.query(document, id=sandbox, p=path))["sandbox"]["file"]
        content = None if file is None else file["content"]
        return None if content is None else base64.b64decode(content)
