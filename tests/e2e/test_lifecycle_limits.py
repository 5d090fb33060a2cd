"""What ends sandboxes by itself, and how many of what a user may have, on the real stack."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from tests.support.api import Api, GraphQLError
from tests.support.faults import settled
from tests.support.stack import Server, Stack, running_server
from tests.support.tokens import user_token
from tests.support.traces import containers

SLEEP = "import time; time.sleep(4)"
BRIEF = "import time; time.sleep(1.5)"
IN_A_ROW = 100
USAGE = "{ viewer { usage { sandboxes runningSandboxes runningExecutions } } }"
RUN = """mutation($input: ExecuteCodeInput!) { executeCode(input: $input) {
    execution { status } } }"""


@pytest.fixture(scope="module")
async def small(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    """An API process with small quotas."""
    log = tmp_path_factory.mktemp("small") / "log"
    quotas = {
        "MAX_SANDBOXES": "5",
        "MAX_RUNNING_SANDBOXES": "2",
        "MAX_CONCURRENT_EXECUTIONS": "3",
    }
    with running_server(stack, log=log, **quotas) as server:
        yield server


@pytest.fixture
async def tenant(stack: Stack, small: Server) -> AsyncIterator[Api]:
    """A user of the process with small quotas, who leaves nothing."""
    async with Api(small.url, user_token(stack)) as client:
        yield client
        found = await client.query("{ sandboxes(first: 100) { nodes { id } } }")
        for node in found["sandboxes"]["nodes"]:
            await client.delete(node["id"])


async def code_of(request: "asyncio.Task[str]") -> str:
    """Return what an attempt came to: OK, or the error's code and limit."""
    try:
        await request
    except GraphQLError as error:
        return f"{error.code} {error.extensions.get('limit')}"
    return "OK"


async def test_an_idle_sandbox_is_stopped_and_a_busy_one_is_not(api: Api) -> None:
    """Idleness counts from the end of the last operation: running code is use."""
    idle, busy = await asyncio.gather(
        api.create(idleTimeoutSeconds=60), api.create(idleTimeoutSeconds=60)
    )
    await asyncio.gather(*(shorten(api, each, idleTimeoutSeconds=2) for each in (idle, busy)))
    run = asyncio.create_task(api.run(busy, SLEEP))

    stopped = await settled(api, idle, "STOPPED")
    while_running = await api.sandbox(busy)
    ended = await run
    afterwards = await settled(api, busy, "STOPPED")

    assert "idle" in str(stopped["statusReason"])
    assert containers(idle) == []
    assert ended.status == "SUCCEEDED"
    assert while_running["status"] == "RUNNING"
    assert "idle" in str(afterwards["statusReason"])
    await asyncio.gather(api.delete(idle), api.delete(busy))


async def test_an_old_sandbox_is_stopped_whatever_it_does(api: Api) -> None:
    """Its lifetime ends a sandbox in the middle of an execution, which is LOST and says so."""
    sandbox = await api.create(lifetimeSeconds=60)
    run = asyncio.create_task(api.run(sandbox, "import time; time.sleep(25)"))
    await shorten(api, sandbox, lifetimeSeconds=10)

    stopped = await settled(api, sandbox, "STOPPED")
    ended = await run

    assert "lifetime" in str(stopped["statusReason"])
    assert ended.status == "LOST"
    assert containers(sandbox) == []
    await api.delete(sandbox)


async def shorten(api: Api, sandbox: str, **limits: float) -> None:
    """Change a sandbox's limits of time."""
    await api.mutate("updateSandbox", "sandbox { id }", sandboxId=sandbox, **limits)


async def test_fifty_racing_creates_stay_within_the_limit(tenant: Api) -> None:
    """Exactly as many as are allowed are made; the others name the limit."""
    creates = [asyncio.create_task(tenant.create(start=False)) for _ in range(50)]

    outcomes = Counter([await code_of(create) for create in creates])
    usage = await tenant.query(USAGE)

    assert outcomes == {"OK": 5, "QUOTA_EXCEEDED maxSandboxes": 45}
    assert usage["viewer"]["usage"]["sandboxes"] == 5


async def test_racing_starts_stay_within_the_limit(tenant: Api) -> None:
    """As many as may run do; another can start once one has stopped."""
    made = [await tenant.create(start=False) for _ in range(4)]
    starts = [asyncio.create_task(start(tenant, each)) for each in made]
    outcomes = [await code_of(each) for each in starts]
    running = [each for each, came in zip(made, outcomes, strict=True) if came == "OK"]
    waiting = next(each for each in made if each not in running)

    await tenant.mutate("stopSandbox", "sandbox { id }", sandboxId=running[0])
    await start(tenant, waiting)
    usage = await tenant.query(USAGE)

    assert Counter(outcomes) == {"OK": 2, "QUOTA_EXCEEDED maxRunningSandboxes": 2}
    assert usage["viewer"]["usage"]["runningSandboxes"] == 2


async def start(api: Api, sandbox: str) -> str:
    """Start a sandbox and return its status."""
    started = await api.mutate("startSandbox", "sandbox { status }", sandboxId=sandbox)
    return str(started["sandbox"]["status"])


@pytest.mark.long
async def test_executions_at_once_stay_within_the_limit(tenant: Api) -> None:
    """Queued ones count; many quick ones in a row never trip it."""
    sandbox = await tenant.create()
    runs = [asyncio.create_task(execute(tenant, sandbox, BRIEF)) for _ in range(8)]
    outcomes = Counter([await code_of(run) for run in runs])
    for number in range(IN_A_ROW):
        assert await execute(tenant, sandbox, str(number)) == "SUCCEEDED"

    assert outcomes == {"OK": 3, "QUOTA_EXCEEDED maxConcurrentExecutions": 5}


async def execute(api: Api, sandbox: str, code: str) -> str:
    """Run code by the mutation and return its status."""
    values = {"sandboxId": sandbox, "code": code, "clientExecutionId": uuid4().hex}
    return str((await api.query(RUN, input=values))["executeCode"]["execution"]["status"])
