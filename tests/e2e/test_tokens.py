"""Tokens over HTTP and over the websocket: whom each lets in."""

import json
import time
from uuid import uuid4

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from tests.support.api import Api
from tests.support.stack import Server, Stack
from tests.support.tokens import LEFT_OUT, secret_of, sign, unsigned

NOW = int(time.time())
BAD: dict[str, object] = {
    "none": None,
    "empty": '""',
    "garbage": "garbage",
    "three parts": "a.b.c",
    "expired": {"exp": NOW - 1},
    "no expiry": {"exp": LEFT_OUT},
    "not yet valid": {"nbf": NOW + 3000},
    "wrong secret": "wrong secret",
    "alg none": "alg none",
    "wrong audience": {"aud": "anon"},
    "no audience": {"aud": LEFT_OUT},
    "sub no uuid": {"sub": "nobody"},
    "no sub": {"sub": LEFT_OUT},
    "sub a number": {"sub": 7},
}


def bad_token(secret: str, kind: str) -> str | None:
    """Make the token of a kind."""
    spec = BAD[kind]
    if kind == "wrong secret":
        return sign("w" * 64)
    if kind == "alg none":
        return unsigned()
    if isinstance(spec, dict):
        return sign(secret, **spec)
    return None if spec is None else str(spec)


@pytest.mark.parametrize("kind", BAD)
async def test_bad_tokens_over_http(stack: Stack, server: Server, kind: str) -> None:
    """Whatever is wrong with a token, the answer is UNAUTHENTICATED and has no data."""
    token = bad_token(secret_of(stack), kind)
    async with Api(server.url, token) as api:
        response = await api.http.post("/graphql", json={"query": "{ viewer { id } }"})
    answer = response.json()

    assert response.status_code == 401
    assert [error["extensions"]["code"] for error in answer["errors"]] == ["UNAUTHENTICATED"]
    assert answer.get("data") is None


async def closing(url: str, payload: object) -> tuple[int, str]:
    """Send a first message with this payload and return how the server closes."""
    address = url.replace("http", "ws", 1) + "/graphql"
    protocol = Subprotocol("graphql-transport-ws")
    async with connect(address, subprotocols=[protocol]) as connection:
        await connection.send(json.dumps({"type": "connection_init", "payload": payload}))
        with pytest.raises(ConnectionClosed):
            await connection.recv()
        return connection.close_code or 0, connection.close_reason or ""


@pytest.mark.parametrize("kind", BAD)
async def test_bad_tokens_over_the_websocket(stack: Stack, server: Server, kind: str) -> None:
    """The socket is closed with 4403 at connection_init, for the reason that HTTP gives."""
    token = bad_token(secret_of(stack), kind)
    payload = {} if token is None else {"Authorization": f"Bearer {token}"}

    async with Api(server.url, token) as api:
        response = await api.http.post("/graphql", json={"query": "{ viewer { id } }"})
    [error] = response.json()["errors"]

    assert await closing(server.url, payload) == (4403, error["message"])


@pytest.mark.parametrize("extra", [{}, {"aud": LEFT_OUT, "sub": LEFT_OUT}, {"sub": "x"}])
async def test_an_anonymous_key_is_forbidden(
    stack: Stack, server: Server, extra: dict[str, object]
) -> None:
    """Role `anon` is FORBIDDEN before audience and subject are looked at, and 4403 on a socket."""
    token = sign(secret_of(stack), role="anon", **extra)
    async with Api(server.url, token) as api:
        response = await api.http.post("/graphql", json={"query": "{ viewer { id } }"})
    code, _ = await closing(server.url, {"authorization": f"Bearer {token}"})

    assert response.status_code == 403
    assert response.json()["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    assert code == 4403


async def test_nothing_is_told_without_a_token(server: Server) -> None:
    """Introspection, and documents that do not parse, need a token too."""
    async with httpx.AsyncClient(base_url=server.url) as client:
        for query in ("{ __schema { queryType { name } } }", "{"):
            answer = await client.post("/graphql", json={"query": query})
            assert answer.json()["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"


async def test_a_good_token_names_its_user(stack: Stack, server: Server) -> None:
    """`viewer` is whom `sub`, `email` and `role` name, over both transports."""
    user = str(uuid4())
    token = sign(secret_of(stack), sub=user, email="ada@example.org")
    document = "{ viewer { id email role } }"
    async with Api(server.url, token) as api:
        over_http = await api.query(document)
        over_socket = [data async for data in api.subscribe(document)]

    expected = {"viewer": {"id": user, "email": "ada@example.org", "role": "authenticated"}}
    assert over_http == expected
    assert over_socket == [expected]
