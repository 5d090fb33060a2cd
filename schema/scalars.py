"""The contract's scalars, and the Python types that stand for them."""

import binascii
from datetime import UTC, datetime
from typing import NewType

import strawberry
from graphql import GraphQLError
from strawberry.types.scalar import ScalarDefinition

JSON = NewType("JSON", object)
Base64 = NewType("Base64", bytes)


def _serialize_datetime(value: datetime) -> str:
    if value.tzinfo is None:
        raise TypeError("A DateTime needs an offset.")
    return value.isoformat()


def _parse_datetime(value: object) -> datetime:
    if isinstance(value, str) and "T" in value.upper():
        try:
            parsed = datetime.fromisoformat(value)
        except ValueError:
            pass
        else:
            if parsed.tzinfo is not None:
                return parsed
    raise GraphQLError("DateTime cannot represent this: use RFC 3339 with an offset.")


def _serialize_base64(value: bytes) -> str:
    return binascii.b2a_base64(value, newline=False).decode("ascii")


def _parse_base64(value: object) -> Base64:
    if isinstance(value, str):
        try:
            return Base64(binascii.a2b_base64(value, strict_mode=True))
        except ValueError:
            pass
    raise GraphQLError("Base64 cannot represent this: use the standard alphabet with padding.")


def utc(seconds: float) -> datetime:
    """Turn seconds since the epoch into a date-time in UTC."""
    return datetime.fromtimestamp(seconds, UTC)


SCALARS: dict[object, ScalarDefinition] = {
    datetime: strawberry.scalar(
        name="DateTime",
        description="RFC 3339 date-time with offset.",
        serialize=_serialize_datetime,
        parse_value=_parse_datetime,
    ),
    JSON: strawberry.scalar(name="JSON", description="Any JSON value."),
    Base64: strawberry.scalar(
        name="Base64",
        description="Bytes as standard base64 (RFC 4648, section 4).",
        serialize=_serialize_base64,
        parse_value=_parse_base64,
    ),
}
