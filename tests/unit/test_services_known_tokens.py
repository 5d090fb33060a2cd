"""Tokens that are verified once, and counted out as soon as they count no more."""

import asyncio
import time
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any
from uuid import uuid4

import jwt
import pytest

from app.token import make_token
from services import auth
from services.auth import TokenVerifier
from services.errors import ForbiddenError, UnauthenticatedError
from services.known_tokens import KnownToken, KnownTokens
from services.signing_keys import FRESH_SECONDS, SigningKeys
from tests.support.issuers import KeyPair, key_set
from tests.support.stub_services import viewer

SECRET = "a secret of at least forty-eight bytes, made up for tests"
ELLIPTIC = KeyPair.es256("ec")


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tokens whose signatures were verified."""
    seen: list[str] = []
    decode = jwt.decode

    def noted(token: str, *arguments: Any, **options: Any) -> dict[str, Any]:  # noqa: ANN401 - PyJWT's
        seen.append(token)
        return decode(token, *arguments, **options)

    monkeypatch.setattr(jwt, "decode", noted)
    return seen


class Provider:
    """Publishes keys, with a clock that a test moves."""

    def __init__(self) -> None:
        self.published = [ELLIPTIC.published]
        self.now = 0.0
        self.keys = SigningKeys(self.fetch, lambda: self.now)

    async def fetch(self) -> bytes:
        """Serve the keys."""
        return key_set(*self.published)

    async def publish(self, *published: dict[str, object]) -> None:
        """Serve others from now on, and have them fetched."""
        self.published = list(published)
        self.now += FRESH_SECONDS + 1
        await self.keys.find("ec")
        fetching = self.keys._fetching
        assert fetching is not None
        await asyncio.shield(fetching)


async def test_a_token_is_verified_once(decoded: list[str]) -> None:
    """By the secret or by a key; another token is verified by itself."""
    verifier = TokenVerifier(SECRET, Provider().keys)
    tokens = [make_token(SECRET, uuid4(), 60), make_token(SECRET, uuid4(), 60), ELLIPTIC.sign()]
    first = [await verifier.verify(token) for token in tokens]
    again = [await verifier.verify(token) for token in tokens]

    assert again == first
    assert len({each.id for each in first}) == 3
    assert decoded == tokens


async def test_a_token_that_is_changed_is_another(decoded: list[str]) -> None:
    """Whatever is known of the one that it was made of."""
    verifier = TokenVerifier(SECRET)
    token = make_token(SECRET, uuid4(), 60)
    await verifier.verify(token)
    claims = jwt.decode(token, options={"verify_signature": False})
    forged = jwt.encode(claims, "another secret, long enough for HS256", "HS256")
    decoded.clear()
    for other in (forged, token.rpartition(".")[0] + ".", token[:-4]):
        with pytest.raises(UnauthenticatedError):
            await verifier.verify(other)

    assert forged.rpartition(".")[0] == token.rpartition(".")[0]
    assert forged in decoded


async def test_what_is_refused_is_not_kept(decoded: list[str]) -> None:
    """It is looked at again each time, and so is an anonymous key."""
    verifier = TokenVerifier(SECRET)
    bad = make_token("another secret, long enough for HS256", uuid4(), 60)
    anonymous = jwt.encode({"role": "anon", "exp": time.time() + 60}, SECRET, "HS256")
    for _ in range(2):
        with pytest.raises(UnauthenticatedError):
            await verifier.verify(bad)
        with pytest.raises(ForbiddenError):
            await verifier.verify(anonymous)

    assert decoded == [bad, anonymous] * 2


class Later(datetime):
    """An hour later than it is."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> "Later":
        """Tell the time."""
        return super().now(tz) + timedelta(hours=1)


async def test_a_known_token_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the moment that it says, without being verified again."""
    verifier = TokenVerifier(SECRET)
    short, long = make_token(SECRET, uuid4(), 60), make_token(SECRET, uuid4(), 7200)
    for token in (short, long):
        await verifier.verify(token)
    monkeypatch.setattr(auth, "datetime", Later)

    assert (await verifier.verify(long)).expires_at > Later.now(UTC)
    with pytest.raises(UnauthenticatedError):
        await verifier.verify(short)


@pytest.mark.parametrize(
    "published", [[], [KeyPair.es256("ec").published]], ids=["withdrawn", "replaced"]
)
async def test_a_known_token_goes_with_its_key(published: list[dict[str, object]]) -> None:
    """As soon as the provider's new set is there; a set with the same key changes nothing."""
    provider = Provider()
    verifier = TokenVerifier(None, provider.keys)
    token = ELLIPTIC.sign()
    await verifier.verify(token)
    await provider.publish(ELLIPTIC.published)
    await verifier.verify(token)
    await provider.publish(*published)

    with pytest.raises(UnauthenticatedError):
        await verifier.verify(token)


def test_the_one_used_longest_ago_is_forgotten() -> None:
    """There is a most, and what is used stays."""
    known = KnownTokens(most=2)
    told = KnownToken(viewer(), None, None)
    for token in "ab":
        known.put(token, told)
    known.get("a")
    known.put("c", told)

    assert [known.get(token) is not None for token in "abc"] == [True, False, True]
    known.forget("a")
    assert known.get("a") is None
