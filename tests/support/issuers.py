"""Identity providers of the tests' own: key pairs, their published form, tokens signed by them."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from uuid import uuid4

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


@dataclass(frozen=True)
class KeyPair:
    """One key of a provider's."""

    key_id: str
    algorithm: str
    private: RSAPrivateKey | EllipticCurvePrivateKey

    @classmethod
    def es256(cls, key_id: str | None = None) -> "KeyPair":
        """Make one on the curve P-256."""
        return cls(key_id or uuid4().hex, "ES256", ec.generate_private_key(ec.SECP256R1()))

    @classmethod
    def rs256(cls, key_id: str | None = None, bits: int = 2048) -> "KeyPair":
        """Make one of RSA."""
        return cls(key_id or uuid4().hex, "RS256", rsa.generate_private_key(65_537, bits))

    @property
    def published(self) -> dict[str, object]:
        """The public half as a JSON Web Key."""
        algorithm = jwt.get_algorithm_by_name(self.algorithm)
        entry = json.loads(algorithm.to_jwk(self.private.public_key()))
        return {**entry, "kid": self.key_id, "alg": self.algorithm, "use": "sig"}

    @property
    def pem(self) -> bytes:
        """The public half as text, which is no secret."""
        return self.private.public_key().public_bytes(
            Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
        )

    def sign(self, headers: Mapping[str, object] | None = None, **changes: object) -> str:
        """Sign a good token's claims, changed."""
        claims: dict[str, object] = {
            "sub": str(uuid4()),
            "aud": "authenticated",
            "role": "authenticated",
            "exp": int(time.time()) + 86_400,
        } | changes
        named = {"kid": self.key_id} | dict(headers or {})
        return jwt.encode(claims, self.private, algorithm=self.algorithm, headers=named)


def key_set(*published: Mapping[str, object]) -> bytes:
    """Write a key set as a provider serves it."""
    return json.dumps({"keys": published}).encode()
