"""The key set of a project, over HTTP."""

from collections.abc import AsyncIterator, Iterator

import pytest

from app import key_server as module
from app.key_server import open_signing_keys
from services.auth import TokenVerifier
from services.errors import ServiceUnavailableError
from services.signing_keys import SigningKeys
from tests.support.issuers import KeyPair
from tests.support.key_server import PATH, KeyServer, key_server

KEY = KeyPair.es256("one")


@pytest.fixture
def project() -> Iterator[KeyServer]:
    """A project with one key."""
    with key_server(KEY) as served:
        yield served


@pytest.fixture
async def keys(project: KeyServer) -> AsyncIterator[SigningKeys]:
    """Its keys, as the API has them."""
    async with open_signing_keys(project.url + "/") as opened:
        yield opened


async def test_a_token_is_verified_by_what_the_project_publishes(
    project: KeyServer, keys: SigningKeys
) -> None:
    """The set is fetched from where Supabase has it, once."""
    verifier = TokenVerifier(None, keys, project.issuer)
    for _ in range(3):
        assert (await verifier.verify(KEY.sign(iss=project.issuer))).role == "authenticated"

    assert project.asked == [PATH]


async def test_a_project_that_is_broken(project: KeyServer, keys: SigningKeys) -> None:
    """Its failure is told as one of the service, not of the token."""
    project.keys = None

    with pytest.raises(ServiceUnavailableError):
        await keys.find("one")


async def test_a_set_that_is_too_large(
    project: KeyServer, keys: SigningKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No more than a bounded document is read."""
    monkeypatch.setattr(module, "MAX_BYTES", 100)

    with pytest.raises(ServiceUnavailableError):
        await keys.find("one")
    assert project.asked == [PATH]


async def test_a_project_that_is_not_there() -> None:
    """Where nobody listens, it is soon said."""
    async with open_signing_keys("http://127.0.0.1:9") as keys:
        with pytest.raises(ServiceUnavailableError):
            await keys.find("one")
