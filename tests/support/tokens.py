"""Tokens signed in the test's own process, good and bad."""

import base64
import json
import time
from uuid import UUID, uuid4

import jwt

from tests.support.stack import Stack

LEFT_OUT = object()


def secret_of(stack: Stack) -> str:
    """Return the secret that the stack's tokens are signed with."""
    return stack.layout.jwt_secret.read_text().strip()


def sign(secret: str, **changes: object) -> str:
    """Sign a good token's claims, changed; `LEFT_OUT` leaves one out."""
    claims: dict[str, object] = {
        "sub": str(uuid4()),
        "aud": "authenticated",
        "role": "authenticated",
        "exp": int(time.time()) + 3600,
    } | changes
    kept = {name: value for name, value in claims.items() if value is not LEFT_OUT}
    return jwt.encode(kept, secret, algorithm="HS256")


def user_token(stack: Stack, user: UUID | None = None) -> str:
    """Sign a token of a user, a new one where none is named."""
    return sign(secret_of(stack), sub=str(user or uuid4()))


def unsigned() -> str:
    """Make a token of algorithm `none`, which no library signs."""
    claims = {"sub": str(uuid4()), "aud": "authenticated", "exp": int(time.time()) + 3600}
    parts = ({"alg": "none", "typ": "JWT"}, claims)
    return (
        ".".join(
            base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")
            for part in parts
        )
        + "."
    )
