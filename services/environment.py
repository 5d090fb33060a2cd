"""Environment values at rest: encrypted, and bound to the sandbox that they belong to."""

import json
import secrets
from collections.abc import Mapping

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from services.entities import SandboxId
from services.keys import derive_key

_VERSION = b"\x01"
_NONCE_BYTES = 12


class EnvironmentUnreadableError(Exception):
    """The stored values do not decrypt: another secret key, or another sandbox's row."""


class EnvironmentCipher:
    """Encrypts environment values with AES-256-GCM under a key of its own."""

    def __init__(self, secret: bytes) -> None:
        self._cipher = AESGCM(derive_key(secret, "environment v1"))

    def encrypt(self, sandbox_id: SandboxId, values: Mapping[str, str]) -> bytes:
        """Return version, nonce and sealed JSON."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        plain = json.dumps(dict(values)).encode()
        return _VERSION + nonce + self._cipher.encrypt(nonce, plain, sandbox_id.bytes)

    def decrypt(self, sandbox_id: SandboxId, sealed: bytes) -> dict[str, str]:
        """Return the values. Raises `EnvironmentUnreadableError`."""
        start = len(_VERSION)
        if not sealed.startswith(_VERSION):
            raise EnvironmentUnreadableError("The stored environment is of an unknown version.")
        nonce, body = sealed[start : start + _NONCE_BYTES], sealed[start + _NONCE_BYTES :]
        try:
            plain = self._cipher.decrypt(nonce, body, sandbox_id.bytes)
        except (InvalidTag, ValueError) as error:
            raise EnvironmentUnreadableError(
                "The stored environment does not decrypt with this instance's secret key."
            ) from error
        values: dict[str, str] = json.loads(plain)
        return values
