"""Signed addresses, and the encryption of environments: what each key opens."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import jwt
import pytest

from services.entities import SandboxId, UserId
from services.environment import EnvironmentCipher, EnvironmentUnreadableError
from services.errors import ForbiddenError
from services.keys import derive_key
from services.signing import Transfer, TransferMethod, TransferSigner, expiry_after

SECRET = bytes(range(32))
BASE = "https://api.example.com"


def a_transfer(method: TransferMethod = TransferMethod.PUT) -> Transfer:
    """Return a transfer of some file's."""
    return Transfer(
        method=method,
        user_id=UserId(uuid4()),
        sandbox_id=SandboxId(uuid4()),
        path="folder/ä b.csv",
        max_bytes=1000,
        expires_at=expiry_after(60),
    )


def signature_of(transfer: Transfer, secret: bytes = SECRET) -> str:
    """Return the last part of the address."""
    address = TransferSigner(secret, BASE + "/").address(transfer)
    assert address.startswith(BASE + "/files/")
    return address.rpartition("/")[2]


def test_what_was_signed_comes_back() -> None:
    """Method, user, sandbox, path, size and expiry, in another process too."""
    transfer = a_transfer()

    assert TransferSigner(SECRET, "x").verify(signature_of(transfer), transfer.method) == transfer


def test_an_address_is_good_for_one_method() -> None:
    """Whoever may read may not write."""
    signature = signature_of(a_transfer(TransferMethod.GET))

    with pytest.raises(ForbiddenError, match="GET"):
        TransferSigner(SECRET, BASE).verify(signature, TransferMethod.PUT)


def test_an_address_expires() -> None:
    """To the second."""
    past = replace(a_transfer(), expires_at=datetime.now(UTC) - timedelta(seconds=1))

    with pytest.raises(ForbiddenError):
        TransferSigner(SECRET, BASE).verify(signature_of(past), TransferMethod.PUT)


def test_no_address_is_good_for_over_an_hour() -> None:
    """Whatever is asked for."""
    assert expiry_after(10_000) <= datetime.now(UTC) + timedelta(hours=1)


@pytest.mark.parametrize("position", range(0, 300, 7))
def test_a_changed_address_is_refused(position: int) -> None:
    """Wherever it was changed."""
    signature = signature_of(a_transfer())
    position %= len(signature) - 1
    changed = "A" if signature[position] != "A" else "B"
    forged = signature[:position] + changed + signature[position + 1 :]

    with pytest.raises(ForbiddenError):
        TransferSigner(SECRET, BASE).verify(forged, TransferMethod.PUT)


@pytest.mark.parametrize("signature", ["", "x", "a.b.c", "é", "x" * 20_000])
def test_garbage_is_refused(signature: str) -> None:
    """Nothing of it is an internal error."""
    with pytest.raises(ForbiddenError):
        TransferSigner(SECRET, BASE).verify(signature, TransferMethod.GET)


def test_a_users_token_is_no_address() -> None:
    """The keys are others, and the audiences too."""
    claims = {"aud": "authenticated", "sub": str(UUID(int=1)), "exp": 2_000_000_000}
    for key in (SECRET, derive_key(SECRET, "environment v1")):
        with pytest.raises(ForbiddenError):
            TransferSigner(SECRET, BASE).verify(
                jwt.encode(claims, key, algorithm="HS256"), TransferMethod.GET
            )


def test_a_key_has_one_purpose() -> None:
    """And is no secret's prefix."""
    keys = {derive_key(SECRET, purpose) for purpose in ("a", "b", "c")}

    assert len(keys) == 3
    assert SECRET not in keys


def test_a_short_secret_is_refused() -> None:
    """It could be guessed."""
    with pytest.raises(ValueError, match="32"):
        derive_key(b"short", "a")


def test_an_environment_comes_back_in_its_own_sandbox_alone() -> None:
    """Another sandbox's row, another key or a changed byte does not decrypt."""
    values = {"TOKEN": "s3cret \U0001f600", "EMPTY": ""}
    mine, other = SandboxId(uuid4()), SandboxId(uuid4())
    cipher = EnvironmentCipher(SECRET)
    sealed = cipher.encrypt(mine, values)

    assert cipher.decrypt(mine, sealed) == values
    assert b"s3cret" not in sealed
    for reader, row, stored in (
        (cipher, other, sealed),
        (EnvironmentCipher(SECRET[::-1]), mine, sealed),
        (cipher, mine, sealed[:-1] + bytes([sealed[-1] ^ 1])),
        (cipher, mine, b"\x02" + sealed[1:]),
        (cipher, mine, b"\x01"),
    ):
        with pytest.raises(EnvironmentUnreadableError):
            reader.decrypt(row, stored)
