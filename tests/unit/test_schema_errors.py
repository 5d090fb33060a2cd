"""What each kind of error becomes."""

import math
from typing import Any

import pytest
from structlog.testing import capture_logs

from resolvers.context import Context
from schema.build import build_schema
from services.errors import BadUserInputError, CapacityExhaustedError, ConflictError, ServiceError
from tests.support.stub_services import Stubs, sandbox, viewer

SCHEMA = build_schema()


async def error(
    query: str, variables: dict[str, Any] | None = None, *, fault: Exception | None = None
) -> dict[str, Any]:
    """Run an operation and return its only error, as a client sees it."""
    stubs = Stubs()
    stubs.sandboxes.fault = fault
    context = Context(stubs.services(), "request", viewer())
    result = await SCHEMA.execute(query, variable_values=variables, context_value=context)
    assert result.errors is not None
    assert len(result.errors) == 1
    formatted: dict[str, Any] = dict(result.errors[0].formatted)
    return formatted


ASK = '{ sandbox(id: "x") { id } }'


@pytest.mark.parametrize(
    ("fault", "extensions"),
    [
        (ConflictError("Start it first.", status="STOPPED"), {"status": "STOPPED"}),
        (CapacityExhaustedError("No room."), {}),
    ],
)
async def test_service_errors(fault: ServiceError, extensions: dict[str, str]) -> None:
    """A service's error keeps its message, code and extensions, and has its path."""
    told = await error(ASK, fault=fault)

    assert told["message"] == fault.message
    assert told["path"] == ["sandbox"]
    assert told["extensions"] == {"code": fault.code.value, **extensions}


async def test_other_errors_are_masked_and_logged() -> None:
    """Nothing of an error that isn't ours is told; the log has it by its id."""
    with capture_logs() as logs:
        told = await error(ASK, fault=RuntimeError("postgres://user:secret@host"))

    assert "secret" not in str(told)
    assert told["extensions"]["code"] == "INTERNAL_SERVER_ERROR"
    assert logs[0]["error_id"] == told["extensions"]["errorId"]
    assert isinstance(logs[0]["exc_info"], RuntimeError)


async def test_the_log_says_what_was_refused() -> None:
    """One line an operation has code, place and message, and says how many errors there were."""
    fault = BadUserInputError("`id` is off.", field="id")
    stubs = Stubs()
    stubs.sandboxes.fault = fault
    context = Context(stubs.services(), "request", viewer())
    aliases = " ".join(f'a{number}: sandbox(id: "x") {{ id }}' for number in range(3))
    with capture_logs() as logs:
        await SCHEMA.execute(f"{{ {aliases} }}", context_value=context)

    assert logs == [
        {
            "event": "operation_refused",
            "log_level": "info",
            "code": "BAD_USER_INPUT",
            "path": "a0",
            "field": "id",
            "message": "`id` is off.",
            "errors": 3,
        }
    ]


async def test_the_log_has_nothing_that_was_sent() -> None:
    """Messages that show values are left out: code and field stand for them."""
    given = {"sandboxId": "x", "code": ["secret"]}
    of_ours = BadUserInputError("'git+https://secret@host' is no package.", field="packages")
    with capture_logs() as logs:
        await error(ASK, fault=of_ours)
        await error(RUN, {"input": given})
        await error('{ secret(of: "secret") }')
        await error('{ sandbox(id: "secret"')

    assert [(line["code"], line["field"]) for line in logs] == [
        ("BAD_USER_INPUT", "packages"),
        ("BAD_USER_INPUT", "code"),
        ("GRAPHQL_VALIDATION_FAILED", None),
        ("GRAPHQL_PARSE_FAILED", None),
    ]
    assert "secret" not in str(logs)


async def test_a_line_of_the_log_is_short() -> None:
    """Aliases and unknown names are the client's own words, of any length."""
    with capture_logs() as logs:
        await error(f'{{ {"a" * 5000}: sandbox(id: "x") {{ id }} }}', fault=ConflictError("No."))
        await error(RUN, {"input": {"sandboxId": "x", "code": "1", "b" * 5000: 1}})

    assert [len(str(line["path"] or line["field"])) for line in logs] == [100, 100]


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("{ sandbox(", "GRAPHQL_PARSE_FAILED"),
        ("{ nothing }", "GRAPHQL_VALIDATION_FAILED"),
        ("{ sandbox { id } }", "GRAPHQL_VALIDATION_FAILED"),
        ('{ sandboxes(first: "a") { totalCount } }', "GRAPHQL_VALIDATION_FAILED"),
    ],
)
async def test_documents(query: str, code: str) -> None:
    """A document that doesn't parse or validate says so, the second time too."""
    for _ in range(2):
        assert (await error(query))["extensions"] == {"code": code}


RUN = "mutation ($input: ExecuteCodeInput!) { executeCode(input: $input) { execution { id } } }"


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"sandboxId": "x", "code": "1", "timeoutSeconds": math.nan}, "timeoutSeconds"),
        ({"sandboxId": "x", "code": "1", "after": 2**31}, "after"),
        ({"sandboxId": "x", "code": "1", "environment": [{"name": "a", "value": 1}]}, "value"),
        ({"sandboxId": "x"}, "code"),
        ({"sandboxId": "x", "code": "1", "nonsense": 1}, "nonsense"),
        (None, "input"),
    ],
)
async def test_variables(given: object, field: str) -> None:
    """A variable that doesn't fit names the field that is off."""
    told = await error(RUN, {"input": given})

    assert told["extensions"] == {"code": "BAD_USER_INPUT", "field": field}


async def test_null_for_an_argument() -> None:
    """A nullable variable in a place that takes no null names the argument."""
    query = "query ($first: Int = 5) { sandboxes(first: $first) { totalCount } }"

    told = await error(query, {"first": None})

    assert told["extensions"] == {"code": "BAD_USER_INPUT", "field": "first"}


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ("first: 101", "first"),
        ("first: 0", "first"),
        ("first: -1", "first"),
        ('after: "x"', "after"),
    ],
)
@pytest.mark.parametrize("asked", ["totalCount", "__typename", "nodes { id }"])
async def test_bad_pages(given: str, field: str, asked: str) -> None:
    """A page that can't be is refused whatever of the connection is asked for."""
    stubs = Stubs()
    stubs.sandboxes.known = [sandbox()]
    inner = f'sandbox(id: "{stubs.sandboxes.known[0].id}")'
    for query in (
        f"{{ sandboxes({given}) {{ {asked} }} }}",
        f"{{ {inner} {{ executions({given}) {{ {asked} }} }} }}",
    ):
        context = Context(stubs.services(), "request", viewer())
        [told] = (await SCHEMA.execute(query, context_value=context)).errors or []

        assert told.extensions == {"code": "BAD_USER_INPUT", "field": field}
        assert "page" not in stubs.sandboxes.calls + stubs.executions.calls
