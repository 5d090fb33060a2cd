"""The small parts of the HTTP side."""

import json
import math

import pytest

from app.graphql_requests import MAX_VARIABLE_VALUES, has_too_many_values
from app.json_text import decode, encode
from app.negotiation import JSON_TYPE, RESPONSE_TYPE, negotiate
from app.ranges import ByteRange, UnsatisfiableRangeError, parse_range
from app.requests import shown_path
from app.transfers import disposition


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, None),
        ("bytes=0-0", ByteRange(0, 1)),
        ("bytes=2-", ByteRange(2, 8)),
        ("bytes=2-99", ByteRange(2, 8)),
        ("bytes=-3", ByteRange(7, 3)),
        ("bytes=-99", ByteRange(0, 10)),
        ("bytes=5-2", None),
        ("bytes=0-1,3-4", None),
        ("lines=0-1", None),
        ("bytes=-", None),
        ("bytes=a-b", None),
    ],
)
def test_ranges(header: str | None, expected: ByteRange | None) -> None:
    """One range of a file of ten bytes is understood; all else means the whole file."""
    assert parse_range(header, 10) == expected


@pytest.mark.parametrize(("header", "size"), [("bytes=10-", 10), ("bytes=-0", 10), ("bytes=0-", 0)])
def test_ranges_beyond_the_end(header: str, size: int) -> None:
    """A range with no byte of the file in it can't be satisfied."""
    with pytest.raises(UnsatisfiableRangeError):
        parse_range(header, size)


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, JSON_TYPE),
        ("*/*", JSON_TYPE),
        ("application/json", JSON_TYPE),
        ("application/graphql-response+json", RESPONSE_TYPE),
        ("application/graphql-response+json; charset=utf-8, application/json;q=0.9", RESPONSE_TYPE),
        ("application/json;q=0.1, application/graphql-response+json;q=0.2", RESPONSE_TYPE),
        ("text/html", None),
        ("application/json;q=0", None),
    ],
)
def test_negotiation(accept: str | None, expected: str | None) -> None:
    """The best type that both sides know is taken."""
    assert negotiate(accept) == expected


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"a": math.nan, "b": [math.inf]}, '{"a":null,"b":[null]}'),
        ({"n": 2**70}, '{"n":1180591620717411303424}'),
        ("a\ud800b", '"a\ufffdb"'),
        ("a\x00é", '"a\\u0000é"'),
    ],
)
def test_encoding_is_always_json(value: object, text: str) -> None:
    """What JSON has no word for becomes the next best that it has."""
    encoded = encode(value)

    assert encoded.decode() == text
    json.loads(encoded)


def test_what_is_shown_often_is_cleaned_once() -> None:
    """One whole number beyond 64 bit does not make copies of all the rest."""
    shown, text = [2**70, "é"], "é" * 1000

    encoded = encode({"a": shown, "b": [shown, shown], "t": text})

    assert json.loads(encoded) == {"a": shown, "b": [shown, shown], "t": text}


def test_decoding() -> None:
    """NaN and half surrogate pairs come through, to be refused by name; no JSON does not."""
    assert math.isnan(decode('{"a": NaN}')["a"])
    assert decode('"\\ud800"') == "\ud800"
    for bad in ("{", b"\xff", "[" * 100_000):
        with pytest.raises(ValueError, match=r"\S"):
            decode(bad)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.txt", "attachment; filename=\"a.txt\"; filename*=UTF-8''a.txt"),
        (
            'é"\r\nSet-Cookie: x',
            (
                'attachment; filename="____Set-Cookie: x"; '
                "filename*=UTF-8''%C3%A9%22%0D%0ASet-Cookie%3A%20x"
            ),
        ),
    ],
)
def test_attachments(name: str, expected: str) -> None:
    """A name is quoted so that nothing of it ends the header."""
    assert disposition(name) == expected


def test_log_shows_no_signature() -> None:
    """A signed address opens a file: it is not written down."""
    assert shown_path("/files/secret.signature") == "/files/..."
    assert shown_path("/graphql") == "/graphql"


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        (None, False),
        ({"input": {"content": "x" * 1_000_000}}, False),
        ({"list": list(range(MAX_VARIABLE_VALUES - 1))}, False),
        ({"list": list(range(MAX_VARIABLE_VALUES))}, True),
        ({"input": {"environment": [{"name": "", "value": ""}] * 5_000}}, True),
        ({"a": [[[[{"b": [0] * MAX_VARIABLE_VALUES}]]]]}, True),
    ],
)
def test_variables_have_a_bounded_number_of_values(variables: object, *, expected: bool) -> None:
    """Values count at any depth, texts by one; coercing a million would take half a minute."""
    assert has_too_many_values(variables) is expected
