"""A sandbox, some code, its output as it comes: `URL=... TOKEN=... python main.py`.

Needs `pip install "gql[httpx,websockets]"`.
"""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

from gql import Client, GraphQLRequest
from gql.transport.exceptions import TransportConnectionFailed
from gql.transport.httpx import HTTPXAsyncTransport
from gql.transport.websockets import WebsocketsTransport
from websockets.exceptions import ConnectionClosed

REFUSED = 4403
URL = os.environ.get("URL", "http://127.0.0.1:8000/graphql")
TOKEN = os.environ.get("TOKEN") or sys.exit("TOKEN is missing: export TOKEN=$(make -s token)")
AUTHORIZATION = {"Authorization": f"Bearer {TOKEN}"}

CREATE = "mutation { createSandbox(input: {start: true}) { sandbox { id } } }"
RUN = """
  subscription ($input: ExecuteCodeInput!) {
    executeCode(input: $input) {
      seq
      ... on OutputChunk { stream text }
      ... on DisplayOutput { data { isResult text } }
      ... on ExecutionErrored { error { traceback } }
      ... on ExecutionFinished { status }
    }
  }
"""
DELETE = "mutation ($id: ID!) { deleteSandbox(input: {sandboxId: $id}) { deletedSandboxId } }"


class TokenExpiredError(Exception):
    """A program of your own would get another token here, and go on from the last `seq`."""


async def ask(document: str, **variables: object) -> dict[str, Any]:
    """Run a query or mutation; raises `TransportQueryError`, whose `errors` have the code."""
    transport = HTTPXAsyncTransport(url=URL, headers=AUTHORIZATION)
    async with Client(transport=transport, execute_timeout=60) as session:
        request = GraphQLRequest(document, variable_values=variables)
        answer: dict[str, Any] = await session.execute(request)
        return answer


async def run(sandbox_id: str, code: str) -> AsyncIterator[dict[str, Any]]:
    """Yield each event once. A lost websocket is followed by another; the code runs once."""
    values = {"sandboxId": sandbox_id, "code": code, "clientExecutionId": str(uuid4())}
    after, status = 0, None
    while status is None:
        request = GraphQLRequest(RUN, variable_values={"input": {**values, "after": after}})
        socket = WebsocketsTransport(url=URL.replace("http", "ws", 1), init_payload=AUTHORIZATION)
        try:
            async with Client(transport=socket) as session:
                async for answer in session.subscribe(request):
                    event = answer["executeCode"]
                    after, status = event["seq"], event.get("status")
                    yield event
        except TransportConnectionFailed as error:
            if is_refused(error):
                raise TokenExpiredError from error
            await asyncio.sleep(1)


def is_refused(error: BaseException | None) -> bool:
    """Whether the server closed with 4403, after which the same token is of no use."""
    while error is not None:
        if isinstance(error, ConnectionClosed) and error.rcvd is not None:
            return error.rcvd.code == REFUSED
        error = error.__cause__
    return False


async def main() -> None:
    """Create a sandbox, run code in it, delete it."""
    made = await ask(CREATE)
    sandbox_id = made["createSandbox"]["sandbox"]["id"]
    try:
        code = "for word in ['live', 'output']: print(word, flush=True)\n6 * 7"
        async for event in run(sandbox_id, code):
            print(json.dumps(event), flush=True)
    except TokenExpiredError:
        sys.exit(f"The token has expired: go on with a new one. The sandbox {sandbox_id} stays.")
    except BaseException:
        await ask(DELETE, id=sandbox_id)
        raise
    await ask(DELETE, id=sandbox_id)


asyncio.run(main())
