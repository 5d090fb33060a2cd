"""API processes that are killed, and what the next ones find: an instance apart, all its own."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

from tests.support.api import Api
from tests.support.faults import LEASE_SECONDS, Apart, drive, eventually, instance_apart, move, sql
from tests.support.stack import Stack, docker, start_server
from tests.support.tokens import user_token

COUNTED = 50
COUNT = f"""
import time
for n in range({COUNTED}):
    print(n, flush=True)
    time.sleep(0.1)
"""
HOLDER = "SELECT holder FROM sandbox_api.leases WHERE name = 'keeper' AND expires_at > now()"
OUTPUTS = "SELECT status, stdout FROM sandbox_api.executions ORDER BY created_at"
FORGET = "DELETE FROM sandbox_api.sandboxes WHERE id = $1 RETURNING session_id"
TAKE_OVER_SECONDS = 4 * LEASE_SECONDS + 8
ACTOR_NAMESPACE = "sandbox"  # ray-agents'


@pytest.fixture(scope="module")
async def apart(stack: Stack) -> AsyncIterator[Apart]:
    """An instance whose API processes are these tests' alone."""
    async with instance_apart(stack) as apart:
        yield apart


async def test_a_killed_api_leaves_what_runs_running(
    apart: Apart, stack: Stack, tmp_path: Path
) -> None:
    """After SIGKILL in the middle of an execution a new process finds sandbox and execution.

    The same clientExecutionId attaches, every event comes once, and the record is complete.
    """
    log, key, token = tmp_path / "log", uuid4().hex, user_token(stack)
    server = start_server(stack, log=log, **apart.variables())
    async with Api(server.url, token) as api:
        sandbox = await api.create()
        await api.run(sandbox, "kept = 'state'")
        async with api.live(sandbox, COUNT, clientExecutionId=key) as live:
            await live.until("OutputChunk", "3")
            server.kill()
    with apart.server(log) as again:
        async with Api(again.url, token) as api:
            found = await api.sandbox(sandbox)
            rest = await api.run(sandbox, "raise SystemExit(9)", clientExecutionId=key)
            state = await api.run(sandbox, "print(kept)")
            await eventually(
                lambda: sql(apart.url, "SELECT status FROM sandbox_api.executions"),
                lambda rows: all(row["status"] == "SUCCEEDED" for row in rows),
            )
            await api.delete(sandbox)

    assert found["status"] == "RUNNING"
    assert rest.id == live.events[0]["executionId"]
    assert [event["seq"] for event in rest.events] == list(range(1, len(rest.events) + 1))
    assert rest.stdout == "".join(f"{n}\n" for n in range(COUNTED))
    assert rest.finished["execution"]["stdout"] == rest.stdout
    assert state.stdout == "state\n"


async def test_an_execution_that_ends_without_any_api_is_recorded(
    apart: Apart, stack: Stack, tmp_path: Path
) -> None:
    """It ends while no process is there to see it; the next one writes its complete record."""
    log, token = tmp_path / "log", user_token(stack)
    server = start_server(stack, log=log, **apart.variables())
    async with Api(server.url, token) as api:
        sandbox = await api.create()
        async with api.live(sandbox, "import time; time.sleep(1.5); print('done')") as live:
            begun = await live.until("ExecutionStarted")
            server.kill()
    # The next one takes longer to come up than the code runs.
    with apart.server(log) as again:
        async with Api(again.url, token) as api:
            [record] = await eventually(
                lambda: sql(apart.url, "SELECT id, status, stdout FROM sandbox_api.executions"),
                lambda rows: rows[0]["status"] == "SUCCEEDED",
            )
            await api.delete(sandbox)

    assert str(record["id"]) == begun["executionId"]
    assert record["stdout"] == b"done\n"


@pytest.mark.long
async def test_a_kill_while_an_execution_is_put_on_record(
    apart: Apart, stack: Stack, tmp_path: Path
) -> None:
    """Its code has run by then: the next process completes the record that Postgres has kept."""
    log, token = tmp_path / "log", user_token(stack)
    server = start_server(stack, log=log, **apart.variables())
    async with Api(server.url, token) as api:
        sandbox = await api.create()
        await api.run(sandbox, "print('first')")
        async with tables_locked(apart.url):
            code = "open('ran', 'w').close(); print('second')"
            cut = asyncio.create_task(api.run(sandbox, code))
            await eventually(lambda: api.download(sandbox, "ran"), lambda seen: seen is not None)
            known = await sql(apart.url, "SELECT id FROM sandbox_api.executions")
            server.kill()
        await asyncio.gather(cut, return_exceptions=True)
    with apart.server(log) as again:
        async with Api(again.url, token) as api:
            records = await eventually(
                lambda: sql(apart.url, OUTPUTS),
                lambda rows: [row["status"] for row in rows] == ["SUCCEEDED"] * 2,
            )
            await api.delete(sandbox)

    assert len(known) == 1
    assert [record["stdout"] for record in records] == [b"first\n", b"second\n"]


@asynccontextmanager
async def tables_locked(url: str) -> AsyncIterator[None]:
    """Keep executions from being added and changed, as a slow database does."""
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE sandbox_api.executions IN SHARE MODE")
            yield
    finally:
        await connection.close()


@pytest.mark.long
async def test_a_start_cut_by_a_kill_is_brought_to_an_end(
    apart: Apart, stack: Stack, tmp_path: Path
) -> None:
    """A sandbox that was STARTING when its process was killed does not stay so.

    It is FAILED after its deadline, or RUNNING where its session came up; a start works then.
    """
    log, token = tmp_path / "log", user_token(stack)
    short = {"SANDBOX_START_TIMEOUT_SECONDS": "5", "SANDBOX_STOP_TIMEOUT_SECONDS": "20"}
    server = start_server(stack, log=log, **(apart.variables() | short))
    async with Api(server.url, token) as api:
        sandbox = await api.create(start=False)
        start = asyncio.create_task(move(api, "startSandbox", sandbox))
        await eventually(
            lambda: api.sandbox(sandbox), lambda seen: bool(seen["status"] == "STARTING")
        )
        server.kill()
        await asyncio.gather(start, return_exceptions=True)
    with apart.server(log) as again:
        async with Api(again.url, token) as api:
            resolved = await eventually(
                lambda: api.sandbox(sandbox),
                lambda seen: seen["status"] in {"FAILED", "RUNNING"},
                60,
            )
            await move(api, "startSandbox", sandbox)
            run = await api.run(sandbox, "print('up')")
            await api.delete(sandbox)

    assert resolved["status"] in {"FAILED", "RUNNING"}
    assert "cut short" in (resolved["statusReason"] or "cut short")
    assert run.stdout == "up\n"


async def test_what_is_left_over_goes_and_what_is_others_stays(
    apart: Apart, stack: Stack, tmp_path: Path
) -> None:
    """Actor, container and folder of a session that no row names are removed at a start.

    Those of another instance on the same node and in the same cluster are not touched.
    """
    log = tmp_path / "log"
    stranger = f"{uuid4().hex[:8]}-{uuid4().hex}"
    folder = stack.layout.sandboxes / stranger
    with apart.server(log) as server:
        async with Api(server.url, user_token(stack)) as api:
            sandbox = await api.create()
            [row] = await sql(apart.url, FORGET, sandbox)
        server.kill()
    left_over = str(row["session_id"])
    container = strange_container(stack, stranger)
    drive(stack, f"code-executor-{stranger}", ACTOR_NAMESPACE)
    folder.mkdir()
    try:
        before = (len(apart.containers()), apart.folders())
        with apart.server(log):
            await eventually(partial(asyncio.to_thread, apart.folders), lambda seen: seen == [])
            after = apart.containers()
            actor = drive(stack, f"code-executor-{left_over}", "is there")
        spared = (
            docker("inspect", "--format={{.State.Running}}", container).strip(),
            drive(stack, f"code-executor-{stranger}", "is there"),
            folder.is_dir(),
        )
    finally:
        docker("rm", "--force", container)
        drive(stack, f"code-executor-{stranger}", "kill")
        folder.rmdir()

    assert before == (1, [left_over])
    assert after == []
    assert actor == "False"
    assert spared == ("true", "True", True)


def strange_container(stack: Stack, session: str) -> str:
    """Start a container that is labelled as another instance's."""
    named = {"instance": session[:8], "session": session}
    labels = [f"--label=sandbox-api.{name}={value}" for name, value in named.items()]
    image = stack.state("node")["image"]
    return docker("run", "--detach", "--network=none", *labels, image, "sleep", "600").strip()


@pytest.mark.long
async def test_one_keeper_at_a_time(apart: Apart, stack: Stack, tmp_path: Path) -> None:
    """Of two processes one holds the lease; killed, the other takes over and keeps house."""
    first = start_server(stack, log=tmp_path / "first", **apart.variables())
    [held] = await eventually(lambda: sql(apart.url, HOLDER), bool)
    second = start_server(stack, log=tmp_path / "second", **apart.variables())
    try:
        async with Api(second.url, user_token(stack)) as api:
            sandbox = await api.create(idleTimeoutSeconds=60)
            [still] = await sql(apart.url, HOLDER)
            first.kill()
            killed = time.monotonic()
            [taken] = await eventually(
                lambda: sql(apart.url, HOLDER), lambda rows: bool(rows) and rows != [held]
            )
            took = time.monotonic() - killed
            run = await api.mutate(
                "executeCode", "execution { id status }", sandboxId=sandbox, code="1"
            )
            await eventually(
                lambda: sql(apart.url, "SELECT status FROM sandbox_api.executions"),
                lambda rows: rows[0]["status"] == "SUCCEEDED",
            )
            await api.delete(sandbox)
    finally:
        first.kill()
        second.stop()

    assert still == held
    assert taken != held
    assert took < TAKE_OVER_SECONDS
    assert run["execution"]["status"] == "SUCCEEDED"
    assert (tmp_path / "first").read_text().count("lease taken") == 1
    assert (tmp_path / "second").read_text().count("lease taken") == 1
