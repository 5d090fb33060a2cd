"""Tokens that verify, and those that do not."""

import base64
import json
import time
from datetime import UTC, datetime
from uuid import UUID

import jwt
import pytest

from services.auth import TokenVerifier
from services.entities import Viewer
from services.errors import ForbiddenError, UnauthenticatedError
from services.limits import MAX_TOKEN_BYTES

SECRET = "a secret of at least forty-eight bytes, made up for tests"
SUB = "0b5a2f0e-8c1b-4f7e-9a53-3f1d3f0c9f11"
NOW = int(time.time())
LATER = NOW + 86_400
"""A day: these tests may run long after they are collected."""


def claims(**changes: object) -> dict[str, object]:
    """Return a good token's claims, changed; a value of ... leaves one out."""
    good = {"sub": SUB, "aud": "authenticated", "role": "authenticated", "exp": LATER}
    return {name: value for name, value in (good | changes).items() if value is not ...}


def signed(secret: str = SECRET, algorithm: str = "HS256", **changes: object) -> str:
    """Return a token."""
    return jwt.encode(claims(**changes), secret, algorithm=algorithm)


def raw(header: object, payload: object, signature: str = "") -> str:
    """Return a token that no library would make."""
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()) for part in (header, payload)]
    return ".".join([*(part.decode().rstrip("=") for part in parts), signature])


async def verify(token: str) -> Viewer:
    """Verify with the right secret."""
    return await TokenVerifier(SECRET).verify(token)


async def test_a_good_token_names_its_user() -> None:
    """Everything of the viewer comes from verified claims."""
    viewer = await verify(signed(email="a@b.example", custom={"x": [1]}))

    assert viewer.id == UUID(SUB)
    assert viewer.email == "a@b.example"
    assert viewer.role == "authenticated"
    assert viewer.claims["custom"] == {"x": [1]}
    assert viewer.expires_at == datetime.fromtimestamp(LATER, UTC)


async def test_the_subject_is_handed_on_in_its_canonical_form() -> None:
    """The database compares it with an owner."""
    assert (await verify(signed(sub=SUB.upper()))).claims["sub"] == SUB


async def test_an_audience_may_be_one_of_several() -> None:
    """RFC 7519 allows a list."""
    assert (await verify(signed(aud=["other", "authenticated"]))).id == UUID(SUB)


BAD = {
    "nothing": "",
    "garbage": "garbage",
    "three dots": "...",
    "not ASCII": "é.ü.ö",
    "expired": signed(exp=NOW - 1),
    "expired this second": signed(exp=NOW),
    "no expiry": signed(exp=...),
    "expiry null": raw({"alg": "HS256"}, claims(exp=None)),
    "expiry in words": signed(exp="soon"),
    "not yet valid": signed(nbf=LATER),
    "wrong secret": signed(secret="another secret of at least thirty-two bytes"),
    "another algorithm": signed(algorithm="HS384", secret=SECRET),
    "alg none": jwt.encode(claims(), "", algorithm="none"),
    "alg none with a signature": raw({"alg": "none"}, claims(), "c2lnbmF0dXJl"),
    "alg missing": raw({"typ": "JWT"}, claims()),
    "wrong audience": signed(aud="anon"),
    "audience missing": signed(aud=...),
    "audience a number": signed(aud=7),
    "sub missing": signed(sub=...),
    "sub no UUID": signed(sub="42"),
    "sub a number": signed(sub=42),
    "sub a URN": signed(sub=f"urn:uuid:{SUB}"),
    "sub in braces": signed(sub=f"{{{SUB}}}"),
    "role a number": signed(role=7),
    "anon, expired": signed(role="anon", exp=NOW - 1),
    "anon, wrong secret": signed(role="anon", secret="another secret of at least thirty-two bytes"),
    "signature cut": signed()[:-3],
    "payload no object": raw({"alg": "HS256"}, [1]),
    "infinite expiry": raw({"alg": "HS256"}, claims(exp=float("inf"))),
}


@pytest.mark.parametrize("token", BAD.values(), ids=BAD.keys())
async def test_a_bad_token_is_unauthenticated(token: str) -> None:
    """Whatever is wrong with it."""
    with pytest.raises(UnauthenticatedError):
        await verify(token)


async def refusal(token: str) -> str:
    """Have a token refused; return what is said."""
    with pytest.raises(UnauthenticatedError) as caught:
        await verify(token)
    return caught.value.message


async def test_all_refusals_say_the_same() -> None:
    """Whoever guesses learns nothing; that it has expired is told of one that was good."""
    messages = {name: await refusal(token) for name, token in BAD.items()}
    expired = {messages.pop(name) for name in BAD if "expired" in name}

    assert expired == {"The token has expired: go on with a new one."}
    assert len(set(messages.values())) == 1
    assert not expired & set(messages.values())


async def test_a_forged_token_that_has_expired_does_not_verify() -> None:
    """The signature is looked at first."""
    forged = signed(exp=NOW - 1, secret="another secret of at least thirty-two bytes")

    assert "does not verify" in await refusal(forged)


@pytest.mark.parametrize(
    "odd",
    [
        {"exp": float("inf")},
        {"user_metadata": {"height": float("nan")}},
        {"app_metadata": [-float("inf")]},
    ],
)
async def test_a_number_that_json_has_not_is_unauthenticated(odd: dict[str, object]) -> None:
    """JSON of Python's knows Infinity and NaN; a date does not, nor does the database."""
    head, _, _ = signed().partition(".")
    payload = base64.urlsafe_b64encode(json.dumps(claims(**odd)).encode())
    body = f"{head}.{payload.decode().rstrip('=')}"
    key = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    signature = base64.urlsafe_b64encode(key.sign(body.encode(), SECRET.encode()))

    with pytest.raises(UnauthenticatedError):
        await verify(f"{body}.{signature.decode().rstrip('=')}")


async def test_an_expiry_beyond_all_dates_is_far_away() -> None:
    """It verifies, and nothing overflows."""
    assert (await verify(signed(exp=10**18))).expires_at.year == 9999


@pytest.mark.parametrize("extra", [{}, {"aud": ..., "sub": ...}])
async def test_an_anonymous_key_is_forbidden(extra: dict[str, object]) -> None:
    """Before audience and subject are looked at: real anon keys have neither."""
    with pytest.raises(ForbiddenError):
        await verify(jwt.encode(claims(role="anon", **extra), SECRET, algorithm="HS256"))


async def test_an_oversized_token_is_not_even_read() -> None:
    """Parsing is not free."""
    token = signed(padding="x" * MAX_TOKEN_BYTES)

    with pytest.raises(UnauthenticatedError):
        await verify(token)


async def test_an_empty_secret_is_refused() -> None:
    """It would verify everybody's tokens."""
    with pytest.raises(ValueError, match="neither"):
        TokenVerifier("")
