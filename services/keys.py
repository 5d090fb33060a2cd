"""Keys for one purpose each, derived from the instance's secret key."""

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES = 32
MIN_SECRET_BYTES = 32


def derive_key(secret: bytes, purpose: str) -> bytes:
    """Return 32 bytes for `purpose`, by HKDF-SHA256 (RFC 5869); the same in every process.

    Raises `ValueError` for a secret under 32 bytes.
    """
    if len(secret) < MIN_SECRET_BYTES:
        raise ValueError(f"The instance's secret key needs at least {MIN_SECRET_BYTES} bytes.")
    info = f"sandbox-api {purpose}".encode()
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=info).derive(secret)
