"""Tokens: who a Supabase JWT names."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from uuid import UUID

import jwt

from services.entities import UserId, Viewer
from services.errors import ForbiddenError, UnauthenticatedError
from services.executor.messages import JSON
from services.limits import MAX_TOKEN_BYTES

ALGORITHMS = ("HS256",)
AUDIENCE = "authenticated"
ANONYMOUS_ROLE = "anon"

_REMEDY = "Send `Authorization: Bearer <token>` with a valid token of a signed-in user."


class TokenVerifier:
    """Verifies HS256 tokens under one secret.

    What is wrong with a token is not told apart: whoever guesses learns nothing.
    """

    def __init__(self, secret: str) -> None:
        if not secret:
            raise ValueError("The JWT secret is empty.")
        self._secret = secret

    def verify(self, token: str) -> Viewer:
        """Return the user of a good token.

        Raises `UnauthenticatedError`, and `ForbiddenError` for the role `anon`, which is
        looked at before audience and subject, since real anon keys have neither.
        """
        claims = self._claims(token)
        if claims.get("role") == ANONYMOUS_ROLE:
            raise ForbiddenError("An anonymous key may not do this: sign in and send that token.")
        return _viewer(claims)

    def _claims(self, token: str) -> Mapping[str, JSON]:
        # Characters bound the bytes from below, and a good token is all ASCII.
        if len(token) > MAX_TOKEN_BYTES or not token.isascii():
            raise _refusal()
        try:
            claims: dict[str, JSON] = jwt.decode(
                token,
                self._secret,
                algorithms=list(ALGORITHMS),
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
