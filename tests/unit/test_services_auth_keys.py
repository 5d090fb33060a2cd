"""Tokens by a provider's keys, and the tricks that are played with them."""

import base64
import json

import jwt
import pytest

from services.auth import TokenVerifier
from services.errors import ForbiddenError, UnauthenticatedError
from services.signing_keys import SigningKeys
from tests.support.issuers import KeyPair, key_set

SECRET = "a secret of at least forty-eight bytes, made up for tests"
ISSUER = "https://project.example/auth/v1"
ELLIPTIC, RSA, STRANGER = KeyPair.es256("ec"), KeyPair.rs256("rsa"), KeyPair.es256("stranger")


async def published() -> bytes:
    """Serve the provider's keys."""
    return key_set(ELLIPTIC.published, RSA.published)


def verifier(secret: str | None = SECRET) -> TokenVerifier:
    """Trust the provider, and the secret where one is given."""
    return TokenVerifier(secret, SigningKeys(published), ISSUER)


@pytest.mark.parametrize("key", [ELLIPTIC, RSA], ids=["ES256", "RS256"])
async def test_a_token_by_a_published_key(key: KeyPair) -> None:
    """It names its user like one by the secret."""
    sub = "0b5a2f0e-8c1b-4f7e-9a53-3f1d3f0c9f11"
    viewer = await verifier().verify(key.sign(sub=sub, iss=ISSUER))

    assert str(viewer.id) == sub


async def test_the_secret_counts_beside_the_keys_and_only_where_it_is_given() -> None:
    """A project may be moving from one to the other; one without a secret takes no HS256."""
    token = jwt.encode(
        jwt.decode(ELLIPTIC.sign(iss=ISSUER), options={"verify_signature": False}),
        SECRET,
        algorithm="HS256",
    )

    assert (await verifier().verify(token)).role == "authenticated"
    with pytest.raises(UnauthenticatedError):
        await verifier(None).verify(token)


@pytest.mark.parametrize(
    "claims",
    [{}, {"iss": ""}, {"iss": "https://other.example/auth/v1"}, {"iss": ISSUER + "/"}],
)
async def test_another_issuer(claims: dict[str, object]) -> None:
    """Only the project's own tokens count, whoever shares a key with it."""
    with pytest.raises(UnauthenticatedError):
        await verifier().verify(ELLIPTIC.sign(None, **claims))


async def test_an_anonymous_key_of_another_issuer_is_forbidden() -> None:
    """Real anon keys name `supabase` as theirs."""
    with pytest.raises(ForbiddenError):
        await verifier().verify(ELLIPTIC.sign(role="anon", iss="supabase"))


def encoded(part: object) -> str:
    """Encode as a part of a token."""
    raw = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def forged(header: object, claims: object, signature: bytes = b"x" * 64) -> str:
    """Put a token together that no library would make."""
    return ".".join([encoded(header), encoded(claims), encoded(signature)])


def by_public_key_as_secret(key: KeyPair, secret: bytes, **headers: object) -> str:
    """Sign by HMAC under what everybody knows: the oldest trick on asymmetric tokens."""
    good = jwt.decode(key.sign(iss=ISSUER), options={"verify_signature": False})
    body = f"{encoded({'alg': 'HS256', 'typ': 'JWT', **headers})}.{encoded(good)}"
    hmac = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    return f"{body}.{encoded(hmac.sign(body.encode(), secret))}"


GOOD = jwt.decode(ELLIPTIC.sign(iss=ISSUER), options={"verify_signature": False})
TRICKS = {
    "HMAC under the public key as text": by_public_key_as_secret(RSA, RSA.pem, kid="rsa"),
    "HMAC under the published form": by_public_key_as_secret(
        RSA, json.dumps(RSA.published).encode(), kid="rsa"
    ),
    "HMAC under nothing": by_public_key_as_secret(RSA, b"", kid="rsa"),
    "none": jwt.encode(GOOD, "", algorithm="none", headers={"kid": "ec"}),
    "None in other letters": forged({"alg": "nOnE", "kid": "ec"}, GOOD, b""),
    "a key of its own": STRANGER.sign(iss=ISSUER, headers={"jwk": STRANGER.published}),
    "a key of its own under a known id": STRANGER.sign(
        iss=ISSUER, headers={"kid": "ec", "jwk": STRANGER.published}
    ),
    "a key set of its own": STRANGER.sign(
        iss=ISSUER, headers={"kid": "ec", "jku": "http://127.0.0.1:9/keys"}
    ),
    "a certificate of its own": STRANGER.sign(
        iss=ISSUER, headers={"kid": "ec", "x5u": "http://127.0.0.1:9/x", "x5c": ["MIIB"]}
    ),
    "another's algorithm": jwt.encode(GOOD, ELLIPTIC.private, "ES256", headers={"kid": "rsa"}),
    "an algorithm that the key has not": forged({"alg": "RS512", "kid": "rsa"}, GOOD),
    "an id that is a path": STRANGER.sign(iss=ISSUER, headers={"kid": "../../dev/null"}),
    "an id that is SQL": STRANGER.sign(iss=ISSUER, headers={"kid": "' OR 1=1 --"}),
    "an id with NUL": STRANGER.sign(iss=ISSUER, headers={"kid": "ec\x00"}),
    "an id that is a list": forged({"alg": "ES256", "kid": ["ec"]}, GOOD),
    "no id": forged({"alg": "ES256"}, GOOD),
    "an extension that must be understood": ELLIPTIC.sign(
        iss=ISSUER, headers={"crit": ["x"], "x": 1}
    ),
    "a token in a token": ELLIPTIC.sign(iss=ISSUER, sub=ELLIPTIC.sign(iss=ISSUER)),
    "an empty signature": forged({"alg": "ES256", "kid": "ec"}, GOOD, b""),
    "a signature of zeros": forged({"alg": "ES256", "kid": "ec"}, GOOD, b"\x00" * 64),
    "a header without end": forged({"alg": "ES256", "kid": "ec", "x": "y" * 20_000}, GOOD),
    "a header nested without end": ".".join(
        [encoded(b'{"alg":"ES256","kid":"ec","x":' + b"[" * 3000 + b"]" * 3000 + b"}"), "e30", "e"]
    ),
    "five parts": ELLIPTIC.sign(iss=ISSUER) + ".x.y",
}


@pytest.mark.parametrize("token", TRICKS.values(), ids=TRICKS.keys())
@pytest.mark.parametrize("secret", [SECRET, None], ids=["beside a secret", "keys alone"])
async def test_tricks(token: str, secret: str | None) -> None:
    """None of them is let in, and none is an error of ours."""
    with pytest.raises(UnauthenticatedError):
        await verifier(secret).verify(token)
