"""A user of a test's own."""

from collections.abc import AsyncIterator

import pytest

from tests.support.api import Api
from tests.support.stack import Server, Stack
from tests.support.tokens import user_token


@pytest.fixture
async def fresh(stack: Stack, server: Server) -> AsyncIterator[Api]:
    """A user who has nothing; what the test leaves is deleted."""
    async with Api(server.url, user_token(stack)) as client:
        yield client
        left = await client.query("{ sandboxes(first: 100) { nodes { id } } }")
        for node in left["sandboxes"]["nodes"]:
            await client.delete(node["id"])
