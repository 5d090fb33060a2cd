"""Fetches the key set of a Supabase project over HTTP."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from app.settings import ISSUER_PATH
from services.signing_keys import FetchKeySet, KeySetUnavailableError, SigningKeys

PATH = f"{ISSUER_PATH}/.well-known/jwks.json"
TIMEOUT_SECONDS = 5.0
MAX_BYTES = 256 * 1024


@asynccontextmanager
async def open_signing_keys(supabase_url: str) -> AsyncIterator[SigningKeys]:
    """Have the project's keys, fetched when they are first needed."""
    async with httpx.AsyncClient(timeout=TIMEOUT_SECONDS, follow_redirects=False) as client:
        keys = SigningKeys(_fetch_from(client, supabase_url.rstrip("/") + PATH))
        try:
            yield keys
        finally:
            await keys.aclose()


def _fetch_from(client: httpx.AsyncClient, url: str) -> FetchKeySet:
    async def fetch() -> bytes:
        try:
            async with client.stream("GET", url) as response:
                if response.status_code != httpx.codes.OK:
                    raise KeySetUnavailableError(f"{url} answers {response.status_code}")
                document = bytearray()
                async for part in response.aiter_bytes():
                    document += part
                    if len(document) > MAX_BYTES:
                        raise KeySetUnavailableError(f"{url} has over {MAX_BYTES} bytes")
        except httpx.HTTPError as error:
            raise KeySetUnavailableError(f"{url} does not answer: {error!r}") from error
        return bytes(document)

    return fetch
