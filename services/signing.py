"""Signed addresses: what lets a client without a token move one file's bytes."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from uuid import UUID

import jwt

from services.entities import SandboxId, UserId, Viewer
from services.errors import ForbiddenError
from services.executor.messages import JSON
from services.keys import derive_key
from services.limits import MAX_ADDRESS_SECONDS

FILES_ROUTE = "/files"
"""Signed addresses are `<public url>/files/<signature>`."""

_AUDIENCE = "file-transfer"
_ALGORITHM = "HS256"
# A path of 4 KiB in base64, and the rest.
_MAX_SIGNATURE_CHARACTERS = 16 * 1024


class TransferMethod(StrEnum):
    """The HTTP method that an address is good for; HEAD counts as GET."""

    GET = "GET"
    PUT = "PUT"


@dataclass(frozen=True, slots=True)
class Transfer:
    """One file's transfer, as it was signed."""

    method: TransferMethod
    user_id: UserId
    sandbox_id: SandboxId
    path: str
    max_bytes: int
    """The most that a PUT may bring; 0 for a GET, which brings nothing."""
    expires_at: datetime

    def viewer(self) -> Viewer:
        """Return whoever asked for the address, with no more rights than that."""
        claims: dict[str, JSON] = {"sub": str(self.user_id), "role": "authenticated"}
        return Viewer(self.user_id, None, "authenticated", claims, self.expires_at)


class TransferSigner:
    """Signs and reads transfers, under a key that is not the JWT secret's."""

    def __init__(self, secret: bytes, public_url: str) -> None:
        self._key = derive_key(secret, "file transfer v1")
        self._base = public_url.rstrip("/") + FILES_ROUTE

    def address(self, transfer: Transfer) -> str:
        """Return the address that allows exactly this transfer."""
        claims = {
            "aud": _AUDIENCE,
            "exp": int(transfer.expires_at.timestamp()),
            "method": transfer.method.value,
            "user": str(transfer.user_id),
            "sandbox": str(transfer.sandbox_id),
            "path": transfer.path,
            "max": transfer.max_bytes,
        }
        return f"{self._base}/{jwt.encode(claims, self._key, algorithm=_ALGORITHM)}"

    def verify(self, signature: str, method: TransferMethod) -> Transfer:
        """Return what was signed. Raises `ForbiddenError` for all that is not good any more."""
        if len(signature) > _MAX_SIGNATURE_CHARACTERS or not signature.isascii():
            raise _refusal()
        try:
            claims = jwt.decode(
                signature,
                self._key,
                algorithms=[_ALGORITHM],
                audience=_AUDIENCE,
                leeway=0,
                options={"require": ["exp", "aud"]},
            )
        except (jwt.PyJWTError, ValueError, OverflowError, RecursionError) as error:
            raise _refusal() from error
        if claims["method"] != method.value:
            raise ForbiddenError(f"This address is good for {claims['method']} alone.")
        return Transfer(
            method=method,
            user_id=UserId(UUID(claims["user"])),
            sandbox_id=SandboxId(UUID(claims["sandbox"])),
            path=claims["path"],
            max_bytes=claims["max"],
            expires_at=datetime.fromtimestamp(claims["exp"], UTC),
        )


def expiry_after(seconds: int) -> datetime:
    """Return the whole second at which an address of `seconds` (at most 3600) ends."""
    bounded = min(seconds, MAX_ADDRESS_SECONDS)
    return (datetime.now(UTC) + timedelta(seconds=bounded)).replace(microsecond=0)


def _refusal() -> ForbiddenError:
    return ForbiddenError("This address is not good, or not any more: ask for a new one.")
