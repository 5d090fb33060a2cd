"""Inputs that are refused, each with its field, and those at the limits that are not."""

from collections.abc import Callable
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.checks import check_first, check_key, check_sandbox_id, check_seq
from services.cursors import decode_cursor, encode_cursor
from services.entities import CodeToRun, SandboxFilter
from services.environment_checks import check_environment
from services.errors import BadUserInputError, PayloadTooLargeError
from services.execution_checks import check_code, check_input_text
from services.executor.messages import JSON
from services.sandbox_checks import (
    check_filter,
    check_idle_timeout,
    check_image,
    check_lifetime,
    check_metadata,
    check_name,
)
from services.settings import SessionSettings, TimeSettings

TIMES = TimeSettings()
SESSIONS = SessionSettings(
    instance="00000000", node_data_dir="/d", default_image="plain", images={"rich": None}
)
NAN, INFINITY = float("nan"), float("inf")
HALF_PAIR = "a\ud800b"


def code(**values: object) -> object:
    """Check code to run, with 300 s as the most."""
    wanted = {"sandbox_id": "", "code": "1"} | values
    return check_code(CodeToRun(**wanted), 300)  # type: ignore[arg-type] # what the case is about


def variables(**values: str) -> object:
    """Check an environment."""
    return check_environment(list(values.items()))


REFUSED: dict[str, tuple[str, Callable[[], object]]] = {
    "id, empty": ("sandboxId", lambda: check_sandbox_id("")),
    "id, no UUID": ("sandboxId", lambda: check_sandbox_id("nonsense")),
    "id in braces": ("sandboxId", lambda: check_sandbox_id("{" + str(uuid4()) + "}")),
    "id without hyphens": ("sandboxId", lambda: check_sandbox_id(uuid4().hex)),
    "name too long": ("name", lambda: check_name("x" * 201)),
    "name with NUL": ("name", lambda: check_name("a\0b")),
    "name with half a pair": ("name", lambda: check_name(HALF_PAIR)),
    "metadata a list": ("metadata", lambda: check_metadata(["a"])),
    "metadata a text": ("metadata", lambda: check_metadata("a")),
    "metadata with a number": ("metadata", lambda: check_metadata({"a": 1})),
    "metadata nested": ("metadata", lambda: check_metadata({"a": {"b": "c"}})),
    "metadata with null": ("metadata", lambda: check_metadata({"a": None})),
    "metadata of 65 pairs": ("metadata", lambda: check_metadata({str(i): "" for i in range(65)})),
    "metadata, long key": ("metadata", lambda: check_metadata({"k" * 129: "v"})),
    "metadata, empty key": ("metadata", lambda: check_metadata({"": "v"})),
    "metadata, long value": ("metadata", lambda: check_metadata({"k": "v" * 2049})),
    "metadata with NUL": ("metadata", lambda: check_metadata({"k": "\0"})),
    "metadata with half a pair": ("metadata", lambda: check_metadata({HALF_PAIR: "v"})),
    "filter's metadata": ("metadata", lambda: check_filter(SandboxFilter(metadata={"a": "\0"}))),
    "filter's name": ("nameContains", lambda: check_filter(SandboxFilter(name_contains="\0"))),
    "image not allowed": ("image", lambda: check_image("/etc", SESSIONS)),
    "idle 0": ("idleTimeoutSeconds", lambda: check_idle_timeout(0, TIMES)),
    "idle NaN": ("idleTimeoutSeconds", lambda: check_idle_timeout(NAN, TIMES)),
    "idle too long": ("idleTimeoutSeconds", lambda: check_idle_timeout(86_401, TIMES)),
    "lifetime negative": ("lifetimeSeconds", lambda: check_lifetime(-1, TIMES)),
    "lifetime infinite": ("lifetimeSeconds", lambda: check_lifetime(INFINITY, TIMES)),
    "key empty": ("idempotencyKey", lambda: check_key("", "idempotencyKey")),
    "key too long": ("idempotencyKey", lambda: check_key("k" * 201, "idempotencyKey")),
    "first 0": ("first", lambda: check_first(0)),
    "first 101": ("first", lambda: check_first(101)),
    "after negative": ("after", lambda: check_seq(-1)),
    "variable's name": ("environment", lambda: check_environment([("1A", "")])),
    "variable's name empty": ("environment", lambda: check_environment([("", "")])),
    "variable's name with =": ("environment", lambda: check_environment([("A=B", "")])),
    "variable's name with line end": ("environment", lambda: check_environment([("A\n", "")])),
    "variable reserved": ("environment", lambda: variables(PATH="/x")),
    "variable of the linker": ("environment", lambda: variables(LD_PRELOAD="x.so")),
    "variable twice": ("environment", lambda: check_environment([("A", "1"), ("A", "2")])),
    "variable with NUL": ("environment", lambda: variables(A="\0")),
    "variable with half a pair": ("environment", lambda: variables(A=HALF_PAIR)),
    "variable too large": ("environment", lambda: variables(A="é" * 16_385)),
    "variables too many": (
        "environment",
        lambda: check_environment([(f"A{i}", "") for i in range(101)]),
    ),
    "variables too large in all": (
        "environment",
        lambda: check_environment([(f"A{i}", "x" * 32_000) for i in range(5)]),
    ),
    "time-out 0": ("timeoutSeconds", lambda: code(timeout_seconds=0)),
    "time-out negative": ("timeoutSeconds", lambda: code(timeout_seconds=-1)),
    "time-out NaN": ("timeoutSeconds", lambda: code(timeout_seconds=NAN)),
    "time-out infinite": ("timeoutSeconds", lambda: code(timeout_seconds=INFINITY)),
    "time-out above the limit": ("timeoutSeconds", lambda: code(timeout_seconds=300.5)),
    "execution's environment": ("environment", lambda: code(environment=[("PATH", "")])),
    "input with half a pair": ("text", lambda: check_input_text(HALF_PAIR)),
}


@pytest.mark.parametrize(("field", "check"), REFUSED.values(), ids=REFUSED.keys())
def test_bad_input_is_refused_by_its_field(field: str, check: Callable[[], object]) -> None:
    """The client is told which argument is off."""
    with pytest.raises(BadUserInputError) as caught:
        check()

    assert caught.value.extensions["field"] == field


@pytest.mark.parametrize("text", ["x" * (1024 * 1024 + 1), "é" * (512 * 1024 + 1)])
def test_code_over_a_mebibyte_is_too_large(text: str) -> None:
    """Bytes of UTF-8 count, not characters."""
    with pytest.raises(PayloadTooLargeError):
        code(code=text)


def test_a_mebibyte_of_code_is_taken() -> None:
    """The limit itself is allowed."""
    assert code(code="é" * (512 * 1024))


def test_half_a_pair_in_code_is_taken_as_everywhere_else() -> None:
    """It runs, and is recorded, as U+FFFD."""
    work = check_code(CodeToRun(sandbox_id="", code=HALF_PAIR), 300)

    assert work.source.decode() == "a\ufffdb"


def test_what_is_left_out_gets_the_defaults() -> None:
    """30 s, an hour, a day."""
    work = check_code(CodeToRun(sandbox_id="", code=""), 300)

    assert work.timeout_seconds == 30
    assert check_idle_timeout(None, TIMES) == 3600
    assert check_lifetime(None, TIMES) == 86_400
    assert check_image(None, SESSIONS) == "plain"
    assert check_image("rich", SESSIONS) == "rich"
    assert check_metadata(None) == {}


def test_an_operator_may_allow_less_than_the_default_time_out() -> None:
    """Then that is the default."""
    assert check_code(CodeToRun(sandbox_id="", code=""), 5).timeout_seconds == 5


@given(st.datetimes(datetime(1970, 1, 1), datetime(2286, 1, 1)), st.uuids())  # noqa: DTZ001 # made aware below
def test_cursors_come_back_as_they_were(moment: datetime, node: object) -> None:
    """To the microsecond, as the database keeps it."""
    position = (moment.replace(tzinfo=UTC), node)

    assert decode_cursor(encode_cursor(*position)) == position  # type: ignore[arg-type] # a UUID


@given(st.text() | st.binary().map(lambda raw: raw.decode("latin-1")))
def test_no_garbage_is_a_cursor(garbage: str) -> None:
    """Whatever it is, `after` is named."""
    with pytest.raises(BadUserInputError) as caught:
        decode_cursor(garbage)

    assert caught.value.extensions["field"] == "after"


@pytest.mark.parametrize(
    ("metadata", "named"),
    [
        ({"k" * 129: "v"}, '"kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk...", has 129 characters'),
        ({"fine": "", "long": "v" * 2049}, '"long", has 2049 characters'),
        ({"fine": "", "a\0b": 1}, 'of "a\\u0000b"'),
    ],
)
def test_metadata_that_is_refused_says_which(metadata: dict[str, JSON], named: str) -> None:
    """Of many pairs, the message names the one."""
    with pytest.raises(BadUserInputError) as caught:
        check_metadata(metadata)

    assert named in caught.value.message
