"""A provider's key set: what is taken of it, and when it is fetched."""

import asyncio
import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from services.errors import ServiceUnavailableError
from services.signing_keys import (
    FRESH_SECONDS,
    MAX_KEYS,
    PAUSE_SECONDS,
    KeySetUnavailableError,
    SigningKeys,
    read_key_set,
)
from tests.support.issuers import KeyPair, key_set

OLD, NEW = KeyPair.es256("old"), KeyPair.rs256("new")


class Provider:
    """Serves a key set, or is away; counts how often it is asked."""

    def __init__(self, *keys: KeyPair) -> None:
        self.keys = keys
        self.away = False
        self.asked = 0
        self.answering = asyncio.Event()
        self.answering.set()
        self.now = 1000.0
        self.signing = SigningKeys(self.fetch, lambda: self.now)

    async def fetch(self) -> bytes:
        """Answer as it is told."""
        self.asked += 1
        await self.answering.wait()
        if self.away:
            raise KeySetUnavailableError("nobody answers")
        return key_set(*(key.published for key in self.keys))

    async def knows(self, key: KeyPair) -> bool:
        """Say whether the key is found."""
        return await self.signing.find(key.key_id) is not None


async def test_a_key_is_fetched_once() -> None:
    """Many who ask at once wait for one fetch, and later ones for none."""
    provider = Provider(OLD)
    provider.answering.clear()
    asking = [asyncio.create_task(provider.signing.find("old")) for _ in range(20)]
    await asyncio.sleep(0)
    provider.answering.set()
    found = await asyncio.gather(*asking)
    later = await provider.signing.find("old")

    assert {key.algorithm if key else None for key in [*found, later]} == {"ES256"}
    assert provider.asked == 1


async def test_a_new_key_is_found_by_one_more_fetch() -> None:
    """A token by a key that is not known yet has the set fetched again, and the old one goes."""
    provider = Provider(OLD)
    assert await provider.knows(OLD)
    provider.keys = (NEW,)
    provider.now += PAUSE_SECONDS

    assert await provider.knows(NEW)
    assert not await provider.knows(OLD)
    assert provider.asked == 2


async def test_made_up_key_ids_cost_no_fetch_each() -> None:
    """However many unknown ids there are, the provider is asked once in a while."""
    provider = Provider(OLD)
    for number in range(1000):
        assert await provider.signing.find(f"made up {number}") is None
    assert provider.asked == 1
    provider.now += PAUSE_SECONDS
    for number in range(1000):
        assert await provider.signing.find(f"made up {number}") is None

    assert provider.asked == 2
    assert await provider.signing.find("x" * 1000) is None


async def test_an_old_set_is_used_while_a_new_one_is_fetched() -> None:
    """Nobody waits for the refresh of what is known."""
    provider = Provider(OLD)
    assert await provider.knows(OLD)
    provider.now += FRESH_SECONDS + 1
    provider.answering.clear()

    assert await provider.knows(OLD)
    await asyncio.sleep(0)
    assert provider.asked == 2
    await provider.signing.aclose()


async def test_a_provider_that_is_away() -> None:
    """Keys that are known go on to verify; without any, it is our failure and not the token's."""
    provider = Provider(OLD)
    provider.away = True
    with pytest.raises(ServiceUnavailableError):
        await provider.knows(OLD)
    provider.away, provider.now = False, provider.now + PAUSE_SECONDS
    assert await provider.knows(OLD)
    provider.away, provider.now = True, provider.now + 100 * FRESH_SECONDS

    assert await provider.knows(OLD)
    assert not await provider.knows(NEW)
    assert await provider.knows(OLD)


async def test_who_leaves_ends_the_fetch_for_nobody_else() -> None:
    """A client that goes while the set is fetched takes nothing from the others."""
    provider = Provider(OLD)
    provider.answering.clear()
    leaving = asyncio.create_task(provider.signing.find("old"))
    staying = asyncio.create_task(provider.signing.find("old"))
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    provider.answering.set()

    assert await staying is not None
    assert provider.asked == 1


SMALL = KeyPair.rs256("small", bits=1024)
OTHER_CURVE = json.loads(ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP384R1()).public_key()))
PASSED_OVER = {
    "no key": 7,
    "symmetric": {"kty": "oct", "k": "c2VjcmV0", "kid": "x", "alg": "HS256"},
    "for encryption": {**OLD.published, "use": "enc"},
    "not to verify": {**OLD.published, "key_ops": ["sign"]},
    "operations no list": {**OLD.published, "key_ops": "verify"},
    "without an id": {name: value for name, value in OLD.published.items() if name != "kid"},
    "an empty id": {**OLD.published, "kid": ""},
    "an endless id": {**OLD.published, "kid": "x" * 1000},
    "another algorithm than its kind": {**OLD.published, "alg": "RS256"},
    "an algorithm of secrets": {**NEW.published, "alg": "HS256"},
    "another curve": {**OTHER_CURVE, "kid": "x"},
    "RSA too short": SMALL.published,
    "numbers that are none": {**NEW.published, "n": "!"},
    "an unknown kind": {"kty": "XYZ", "kid": "x"},
}


@pytest.mark.parametrize("entry", PASSED_OVER.values(), ids=PASSED_OVER.keys())
def test_keys_that_are_of_no_use_are_passed_over(entry: object) -> None:
    """What can't verify a token safely is as if it were not there; the others count."""
    document = json.dumps({"keys": [entry, NEW.published]}).encode()

    assert [key.key_id for key in read_key_set(document)] == ["new"]


@pytest.mark.parametrize(
    "document", [b"", b"<html>", b"[]", b"{}", b'{"keys": 7}', b"\xff", b"[" * 100_000]
)
def test_what_is_no_key_set(document: bytes) -> None:
    """A page, or nothing, does not replace the keys."""
    with pytest.raises(KeySetUnavailableError):
        list(read_key_set(document))


def test_a_set_without_end_is_cut() -> None:
    """So many keys are read and no more."""
    entries = [{**OLD.published, "kid": str(number)} for number in range(MAX_KEYS + 10)]

    assert len(list(read_key_set(key_set(*entries)))) == MAX_KEYS
