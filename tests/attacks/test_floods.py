"""Floods of requests that ask for much in few bytes."""

import asyncio
from collections.abc import Iterable

import httpx
import pytest

from tests.support.attacks import Record, bearer, unharmed
from tests.support.floods import FLOODS, Flood
from tests.support.stack import Server

AT_ONCE = 8
FEW, MANY = 4, 400
"""Requests of a kind; the latter are all that a user may ask at once."""


async def flood(server: Server, requests: Iterable[Flood]) -> list[str | None]:
    """Send them as one user, several at once; return the code of each answer."""
    headers = {"Authorization": bearer(), "Content-Type": "application/json"}
    turns = asyncio.Semaphore(AT_ONCE)

    async def once(client: httpx.AsyncClient, request: Flood) -> str | None:
        async with turns:
            answer = await client.post("/graphql", content=request.body)
        errors = answer.json().get("errors")
        return str(errors[0]["extensions"]["code"]) if errors else None

    # Well below what the server keeps an idle connection for.
    limits = httpx.Limits(keepalive_expiry=1.0)
    async with httpx.AsyncClient(
        base_url=server.url, headers=headers, timeout=60, limits=limits
    ) as client:
        return list(await asyncio.gather(*(once(client, request) for request in requests)))


async def test_floods_harm_nobody(server: Server, record: Record) -> None:
    """Each request has its answer, another user has theirs, and the memory returns."""
    requests = list(FLOODS.values()) * FEW
    async with unharmed(server, record):
        answers = await flood(server, requests)

    expected = {name: [kind.code] * FEW for name, kind in FLOODS.items()}
    assert {name: answers[number :: len(FLOODS)] for number, name in enumerate(FLOODS)} == expected


@pytest.mark.long
@pytest.mark.parametrize("name", FLOODS)
async def test_a_long_flood_harms_nobody(server: Server, record: Record, name: str) -> None:
    """The same with one kind, as often as a user may ask at once."""
    kind = FLOODS[name]
    async with unharmed(server, record):
        answers = await flood(server, [kind] * MANY)

    assert set(answers) <= {kind.code, "RATE_LIMITED"}
