"""Tokens by a Supabase project's signing keys, against a server that trusts that project."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.support.api import Api, GraphQLError
from tests.support.faults import eventually
from tests.support.issuers import KeyPair
from tests.support.key_server import KeyServer, key_server
from tests.support.stack import Server, Stack, running_server
from tests.support.tokens import secret_of, sign

OLD, NEW = KeyPair.es256("old"), KeyPair.rs256("new")
VIEWER = "{ viewer { id } }"


@pytest.fixture(scope="module")
def project() -> Iterator[KeyServer]:
    """A project whose keys a test may change."""
    with key_server(OLD) as served:
        yield served


@pytest.fixture(scope="module")
def trusting(
    stack: Stack, project: KeyServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """An API process that trusts that project."""
    log: Path = tmp_path_factory.mktemp("api") / "log"
    with running_server(stack, log=log, SUPABASE_URL=project.url) as server:
        yield server


@pytest.fixture
async def asked(trusting: Server, project: KeyServer) -> AsyncIterator[Api]:
    """A user of that project."""
    async with Api(trusting.url, OLD.sign(iss=project.issuer)) as api:
        yield api


async def code_of(trusting: Server, token: str) -> str | None:
    """Ask who one is; return the error's code, None where there is none."""
    async with Api(trusting.url, token) as api:
        try:
            await api.query(VIEWER)
        except GraphQLError as error:
            return error.code
    return None


async def test_a_user_of_the_project_runs_code(asked: Api) -> None:
    """Over HTTP and over the websocket, like a user by the secret."""
    sandbox = await asked.create()
    run = await asked.run(sandbox, "print(6 * 7)")
    await asked.delete(sandbox)

    assert run.stdout == "42\n"


async def test_other_projects_are_strangers(
    trusting: Server, project: KeyServer, stack: Stack
) -> None:
    """Another issuer's tokens are refused, by whatever key, and so are another's keys."""
    secret = secret_of(stack)

    assert await code_of(trusting, OLD.sign(iss="https://other.example/auth/v1")) == (
        "UNAUTHENTICATED"
    )
    assert await code_of(trusting, KeyPair.es256("old").sign(iss=project.issuer)) == (
        "UNAUTHENTICATED"
    )
    assert await code_of(trusting, sign(secret)) == "UNAUTHENTICATED"
    assert await code_of(trusting, sign(secret, iss=project.issuer)) is None


async def test_keys_are_rotated(trusting: Server, project: KeyServer) -> None:
    """A new key counts soon after it is published; while the key server is down, known ones do."""
    assert await code_of(trusting, OLD.sign(iss=project.issuer)) is None
    project.keys = (OLD, NEW)
    rotated = await eventually(
        lambda: code_of(trusting, NEW.sign(iss=project.issuer)), lambda code: code is None
    )
    project.keys = None
    down = [await code_of(trusting, key.sign(iss=project.issuer)) for key in (OLD, NEW)]
    project.keys = (OLD, NEW)

    assert rotated is None
    assert down == [None, None]
