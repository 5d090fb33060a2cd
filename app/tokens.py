"""Tokens as they come: in a header, or in a websocket's first message."""

from collections.abc import Mapping

from app.backend import Backend
from services.entities import Viewer
from services.errors import UnauthenticatedError

_SCHEME = "bearer"


async def viewer_of(backend: Backend, authorization: object) -> Viewer:
    """Return the user whom `Bearer <jwt>` names.

    Raises `UnauthenticatedError`, `ForbiddenError` and `ServiceUnavailableError`.
    """
    if not isinstance(authorization, str) or not authorization.strip():
        raise UnauthenticatedError("Send a token: `Authorization: Bearer <jwt>`.")
    scheme, _, token = authorization.strip().partition(" ")
    if scheme.lower() != _SCHEME:
        raise UnauthenticatedError("Send the token as `Authorization: Bearer <jwt>`.")
    return await backend.verifier.verify(token.strip())


def authorization_in(params: Mapping[str, object]) -> object:
    """Find the header's value in connectionParams, in either of the usual spellings."""
    return params.get("Authorization") or params.get("authorization")
