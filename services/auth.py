"""Tokens: who a Supabase JWT names."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import jwt

from services.entities import UserId, Viewer
from services.errors import ForbiddenError, UnauthenticatedError
from services.executor.messages import JSON
from services.known_tokens import KnownToken, KnownTokens
from services.limits import MAX_TOKEN_BYTES
from services.signing_keys import SigningKeys

SHARED_SECRET_ALGORITHM = "HS256"  # noqa: S105 - a name
AUDIENCE = "authenticated"
ANONYMOUS_ROLE = "anon"

_REMEDY = "Send `Authorization: Bearer <token>` with a valid token of a signed-in user."


@dataclass(frozen=True, slots=True)
class _Trusted:
    """A key that may verify this token, and the one algorithm that it does it by."""

    key: Any
    """Bytes or one of `cryptography`'s public keys, as PyJWT takes them."""
    algorithm: str
    key_id: str | None = None
    """None for the shared secret."""


def expiry_refusal() -> UnauthenticatedError:
    """Refuse a token that was good: its signature is looked at first, so nobody else learns it."""
    return UnauthenticatedError("The token has expired: go on with a new one.")


class TokenVerifier:
    """Verifies tokens under a shared secret, a provider's public keys, or either.

    What is wrong with a token is not told apart: whoever guesses learns nothing. `issuer`,
    where it is given, is the only one whose tokens count. A token is verified once under each
    key; its expiry, and whether the key still counts, are looked at each time.
    """

    def __init__(
        self,
        secret: str | None,
        keys: SigningKeys | None = None,
        issuer: str | None = None,
    ) -> None:
        if not secret and keys is None:
            raise ValueError("There is neither a JWT secret nor a key set.")
        self._secret = _Trusted(secret, SHARED_SECRET_ALGORITHM) if secret else None
        self._keys = keys
        self._issuer = issuer
        self._known = KnownTokens()

    async def verify(self, token: str) -> Viewer:
        """Return the user of a good token.

        Raises `UnauthenticatedError`; `ForbiddenError` for the role `anon`, which is looked
        at before issuer, audience and subject, since real anon keys have others or none; and
        `ServiceUnavailableError` while the provider's keys could never be fetched.
        """
        # Characters bound the bytes from below, and a good token is all ASCII.
        if len(token) > MAX_TOKEN_BYTES or not token.isascii():
            raise _refusal()
        known = self._known.get(token)
        if known is not None and await self._still_counts(known):
            if known.viewer.expires_at <= datetime.now(UTC):
                self._known.forget(token)
                raise expiry_refusal()
            return known.viewer
        trusted = await self._trusted(token)
        viewer = self._viewer(_claims(token, trusted))
        self._known.put(token, KnownToken(viewer, trusted.key_id, trusted.key))
        return viewer

    def _viewer(self, claims: Mapping[str, JSON]) -> Viewer:
        if claims.get("role") == ANONYMOUS_ROLE:
            raise ForbiddenError("An anonymous key may not do this: sign in and send that token.")
        if self._issuer is not None and claims.get("iss") != self._issuer:
            raise _refusal()
        return _viewer(claims)

    async def _still_counts(self, known: KnownToken) -> bool:
        """Whether the key that a token was verified under is still the one of its name."""
        if known.key_id is None or self._keys is None:
            return True
        key = await self._keys.find(known.key_id)
        return key is not None and key.key is known.key

    async def _trusted(self, token: str) -> _Trusted:
        """Choose the key. The header says which, and no more: each key has one algorithm."""
        try:
            header = jwt.get_unverified_header(token)
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
            raise _refusal() from error
        if header.get("alg") == SHARED_SECRET_ALGORITHM:
            if self._secret is None:
                raise _refusal()
            return self._secret
        key_id = header.get("kid")
        if self._keys is None or not isinstance(key_id, str):
            raise _refusal()
        key = await self._keys.find(key_id)
        if key is None:
            raise _refusal()
        return _Trusted(key.key, key.algorithm, key_id)


def _claims(token: str, trusted: _Trusted) -> Mapping[str, JSON]:
    try:
        claims: dict[str, JSON] = jwt.decode(
            token,
            trusted.key,
            algorithms=[trusted.algorithm],
            leeway=0,
            options={
                "require": ["exp"],
                "verify_aud": False,
                "verify_iat": False,
                "verify_iss": False,
                "verify_jti": False,
                "verify_sub": False,
            },
        )
        # The database takes no NaN, and no token that means well has one.
        json.dumps(claims, allow_nan=False)
    except jwt.ExpiredSignatureError as error:
        raise expiry_refusal() from error
    except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError) as error:
        # Infinity and absurd nesting leave PyJWT as the errors of Python itself.
        raise _refusal() from error
    return claims


def _viewer(claims: Mapping[str, JSON]) -> Viewer:
    audience = claims.get("aud")
    subject = claims.get("sub")
    role = claims.get("role", AUDIENCE)
    email = claims.get("email")
    audiences = audience if isinstance(audience, list) else [audience]
    if AUDIENCE not in audiences or not isinstance(subject, str) or not isinstance(role, str):
        raise _refusal()
    try:
        user_id = UserId(UUID(subject))
    except ValueError as error:
        raise _refusal() from error
    # One way to write each: Python takes it in braces and as a URN too.
    if str(user_id) != subject.lower():
        raise _refusal()
    return Viewer(
        id=user_id,
        email=email if isinstance(email, str) else None,
        role=role,
        claims={**claims, "sub": str(user_id)},
        expires_at=_expiry(claims["exp"]),
    )


def _expiry(exp: JSON) -> datetime:
    if isinstance(exp, bool) or not isinstance(exp, int | float | str):
        raise _refusal()
    try:
        return datetime.fromtimestamp(int(exp), UTC)
    except (OverflowError, ValueError, OSError):
        # PyJWT took it for a time in the future: further away than a `datetime` reaches.
        return datetime.max.replace(tzinfo=UTC)


def _refusal() -> UnauthenticatedError:
    return UnauthenticatedError(f"The token is missing or does not verify. {_REMEDY}")
