"""The public keys that tokens are signed with, as an identity provider publishes them.

A JSON Web Key Set (RFC 7517): fetched without blocking, kept, and fetched anew when it is old
or when a token names a key that is not in it.
"""

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from services.errors import ServiceUnavailableError

FRESH_SECONDS = 600.0
"""Supabase's edge keeps its key set for as long."""
PAUSE_SECONDS = 10.0
"""Between two fetches, whoever asks: tokens with made-up key ids are cheap."""
MIN_RSA_BITS = 2048
MAX_KEYS = 32
MAX_KEY_ID_CHARACTERS = 256

logger = logging.getLogger(__name__)

FetchKeySet = Callable[[], Awaitable[bytes]]
"""Fetches the JSON document. Raises `KeySetUnavailableError`."""
Clock = Callable[[], float]


class KeySetUnavailableError(Exception):
    """The key set could not be fetched, or is none; the message says why."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One public key, and the one algorithm that it verifies."""

    key_id: str
    algorithm: str
    key: RSAPublicKey | EllipticCurvePublicKey


class SigningKeys:
    """A provider's keys by id; one fetch at a time, by whoever comes first."""

    def __init__(self, fetch: FetchKeySet, clock: Clock = time.monotonic) -> None:
        """Fetch nothing yet."""
        self._fetch = fetch
        self._clock = clock
        self._keys: Mapping[str, SigningKey] | None = None
        self._fetched_at = -FRESH_SECONDS
        self._tried_at = -PAUSE_SECONDS
        self._fetching: asyncio.Task[None] | None = None

    async def find(self, key_id: str) -> SigningKey | None:
        """Return a key, None where the provider has none of this id.

        What is known is answered at once, old or not; an old set is fetched anew meanwhile.
        Raises `ServiceUnavailableError` while no set could be fetched at all.
        """
        if len(key_id) > MAX_KEY_ID_CHARACTERS:
            return None
        known = self._keys.get(key_id) if self._keys is not None else None
        if known is None:
            await self._refresh()
        elif self._clock() - self._fetched_at > FRESH_SECONDS:
            self._begin()
        if self._keys is None:
            raise ServiceUnavailableError("The keys of tokens can't be fetched now: try again.")
        return self._keys.get(key_id)

    async def aclose(self) -> None:
        """End a fetch under way; idempotent."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.gather(self._fetching, return_exceptions=True)

    async def _refresh(self) -> None:
        """Wait for a fetch, where the last was long enough ago."""
        self._begin()
        if self._fetching is not None:
            # One who leaves must not end it for the others.
            await asyncio.shield(self._fetching)

    def _begin(self) -> None:
        if self._fetching is not None and not self._fetching.done():
            return
        self._fetching = None
        if self._clock() - self._tried_at >= PAUSE_SECONDS:
            self._tried_at = self._clock()
            self._fetching = asyncio.create_task(self._replace(), name="signing keys")

    async def _replace(self) -> None:
        """Take what the provider has now; where it does not answer, keep what there is."""
        try:
            self._keys = {key.key_id: key for key in read_key_set(await self._fetch())}
        except KeySetUnavailableError as error:
            logger.warning("the signing keys could not be fetched: %s", error)
        else:
            self._fetched_at = self._clock()


def read_key_set(document: bytes) -> Iterator[SigningKey]:
    """Return the keys of a set that can verify tokens; others are passed over.

    Raises `KeySetUnavailableError` where it is no key set.
    """
    try:
        keys = json.loads(document)["keys"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise KeySetUnavailableError("what came is no JSON Web Key Set") from error
    if not isinstance(keys, list):
        raise KeySetUnavailableError("its keys are no list")
    found = (_read_key(entry) for entry in keys[:MAX_KEYS])
    return (key for key in found if key is not None)


def _read_key(entry: object) -> SigningKey | None:
    """Read one key; never a symmetric one, which a public document can't hold."""
    if not isinstance(entry, dict) or not _is_for_signatures(entry):
        return None
    key_id = entry.get("kid")
    if not isinstance(key_id, str) or not 0 < len(key_id) <= MAX_KEY_ID_CHARACTERS:
        return None
    try:
        key = jwt.PyJWK(entry).key if entry.get("kty") in {"EC", "RSA"} else None
    except (jwt.PyJWTError, ValueError, TypeError) as error:
        logger.warning("a published signing key can't be used: %s", error)
        return None
    algorithm = _algorithm(key)
    if key is None or algorithm is None or entry.get("alg", algorithm) != algorithm:
        return None
    return SigningKey(key_id, algorithm, key)


def _is_for_signatures(entry: Mapping[str, object]) -> bool:
    operations = entry.get("key_ops")
    return entry.get("use", "sig") == "sig" and (
        operations is None or (isinstance(operations, list) and "verify" in operations)
    )


def _algorithm(key: object) -> str | None:
    """Say what a key verifies: its kind decides, not the token."""
    if isinstance(key, RSAPublicKey) and key.key_size >= MIN_RSA_BITS:
        return "RS256"
    if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1):
        return "ES256"
    return None
