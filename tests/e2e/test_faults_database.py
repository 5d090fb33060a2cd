"""The database stopped and started again under running API processes."""

import asyncio
import time

import pytest

from tests.support.api import Api, GraphQLError
from tests.support.faults import eventually, postgres_away
from tests.support.stack import Stack

FOUND = "query($id: ID!) { execution(id: $id) { status stdout } }"
ANSWERS_WITHIN_SECONDS = 20


async def test_postgres_restarted_under_the_api(api: Api, stack: Stack, sandbox: str) -> None:
    """Requests are SERVICE_UNAVAILABLE while it is away, and work again by themselves."""
    with postgres_away(stack):
        began = time.monotonic()
        with pytest.raises(GraphQLError) as reading:
            await api.sandbox(sandbox)
        with pytest.raises(GraphQLError) as running:
            await api.run(sandbox, "1")
        with pytest.raises(GraphQLError) as creating:
            await api.create(start=False)
        took = time.monotonic() - began
    found = await api.sandbox(sandbox)
    run = await api.run(sandbox, "print('back')")

    assert {reading.value.code, running.value.code, creating.value.code} == {"SERVICE_UNAVAILABLE"}
    assert took < ANSWERS_WITHIN_SECONDS
    assert found["status"] == "RUNNING"
    assert run.stdout == "back\n"


@pytest.mark.parametrize("away_seconds", [0, pytest.param(20, marks=pytest.mark.long)])
async def test_an_execution_that_ends_while_the_database_is_away(
    api: Api, stack: Stack, sandbox: str, away_seconds: float
) -> None:
    """Its reader gets every event meanwhile, and its record is complete afterwards."""
    code = "import time\ntime.sleep(2)\nprint('ended')"
    async with api.live(sandbox, code) as live:
        begun = await live.until("ExecutionStarted")
        with postgres_away(stack):
            run = await live.end()
            # That it is away for long after the end is the claim, not a wait for something.
            await asyncio.sleep(away_seconds)
    record = await eventually(
        lambda: api.query(FOUND, id=begun["executionId"]),
        lambda seen: bool(seen["execution"]["status"] == "SUCCEEDED"),
    )
    usage = await eventually(
        lambda: api.query("{ viewer { usage { runningExecutions } } }"),
        lambda seen: bool(seen["viewer"]["usage"]["runningExecutions"] == 0),
    )

    assert run.status == "SUCCEEDED"
    assert run.stdout == "ended\n"
    assert record["execution"]["stdout"] == "ended\n"
    assert usage["viewer"]["usage"]["runningExecutions"] == 0
