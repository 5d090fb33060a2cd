"""Several API processes over one stack: one ends, another goes on; two workers share all."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from uuid import uuid4

import httpx
import psutil
import pytest

from tests.support.api import EXECUTE, Api, Json
from tests.support.postgres import supabase_server, transaction_pooler
from tests.support.serving import socket
from tests.support.stack import Server, Stack, running_server, start_server
from tests.support.tokens import secret_of, user_token

CHANGED = "subscription { sandboxChanged { sandbox { id name } } }"
RENAMED = "sandbox { id }"
SEEN = "{ sandboxes { totalCount nodes { executions { totalCount } } } }"
WAIT = "import os, time\nwhile not os.path.exists('go'):\n    time.sleep(0.01)\n"


async def test_an_execution_outlives_its_server(
    api: Api, sandbox: str, stack: Stack, tmp_path: Path
) -> None:
    """SIGTERM closes sockets cleanly; the code goes on, and another server has every event."""
    ending = await asyncio.to_thread(start_server, stack, log=tmp_path / "log")
    params = {"Authorization": f"Bearer {api.token}"}
    code = f"print('on', flush=True)\n{WAIT}print('and on')"
    try:
        async with socket(ending.url, params=params) as client:
            await client.receive()
            values = {"input": {"sandboxId": sandbox, "code": code}}
            await client.subscribe(EXECUTE, values)
            seen: list[Json] = []
            while not seen or seen[-1].get("text") != "on\n":
                seen.append((await client.receive())["payload"]["data"]["executeCode"])
            stopped = asyncio.create_task(asyncio.to_thread(ending.stop))
            close_code, _ = await client.closed()
        exit_code = await stopped
    finally:
        if ending.process.poll() is None:
            ending.kill()
    execution = seen[-1]["executionId"]
    running = await api.query("query($id: ID!) { execution(id: $id) { status } }", id=execution)
    await api.upload(sandbox, "go")
    rest = await api.follow(execution, seen[-1]["seq"])
    again = await api.follow(execution)

    assert close_code in {1001, 1012}
    assert exit_code in {0, -15}
    assert running == {"execution": {"status": "RUNNING"}}
    assert rest.stdout == "and on\n"
    assert rest.status == "SUCCEEDED"
    assert again.events == seen + rest.events
    assert "Traceback" not in (tmp_path / "log").read_text()


def worker_of(workers: list[psutil.Process], port: int) -> int:
    """Return the process that serves the connection from this port of ours."""
    return next(
        worker.pid
        for worker in workers
        for connection in worker.net_connections("tcp")
        if connection.raddr == ("127.0.0.1", port)
    )


async def test_workers_share_everything(stack: Stack, tmp_path: Path) -> None:
    """With two workers, what one runs the other follows, interrupts, lists and deletes."""
    token = user_token(stack)
    with running_server(stack, log=tmp_path / "log", WEB_CONCURRENCY="2") as server:
        workers = [
            child
            for child in psutil.Process(server.process.pid).children()
            if child.net_connections("tcp")
        ]
        async with Api(server.url, token) as api:
            sandbox = await api.create()
            async with api.live(sandbox, "print('up', flush=True)\ninput()") as live:
                asked = await live.until("InputRequested")
                answers: dict[int, object] = {}
                while len(answers) < 2:
                    worker, answer = await ask(server, token, workers, asked["executionId"])
                    answers[worker] = answer
                *followed, _ = await asyncio.gather(
                    *(api.follow(asked["executionId"]) for _ in range(4)), provide(api, asked)
                )
                run = await live.end()
            key = uuid4().hex
            attached = await asyncio.gather(
                *(api.run(sandbox, "len('x')", clientExecutionId=key) for _ in range(4))
            )
            await api.delete(sandbox)

    assert len(workers) == 2
    assert list(answers.values()) == [{"status": "RUNNING", "stdout": "up\n"}] * 2
    assert [each.events for each in followed if each] == [run.events] * 4
    assert [each.events for each in attached] == [attached[0].events] * 4
    assert "Traceback" not in (tmp_path / "log").read_text()


@pytest.mark.long
async def test_a_server_behind_a_transaction_pooler(stack: Stack, tmp_path: Path) -> None:
    """Two users' whole way over two server connections: each has what is theirs, and no more."""
    async with AsyncExitStack() as exits:
        postgres = exits.enter_context(supabase_server())
        database = await exits.enter_async_context(postgres.database(migrated=False))
        pooled = exits.enter_context(
            transaction_pooler(postgres.sockets, postgres.app, database.name)
        )
        # An instance of its own: another database knows nothing of the stack's sandboxes, and
        # its reconciler would clear them away.
        own = {
            "DATA_DIR": str(tmp_path / "data"),
            "DATABASE_URL": pooled,
            "RAY_ADDRESS": stack.state("ray")["address"],
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(stack.layout.ray_token),
            "SANDBOX_NODE_DATA_DIR": str(stack.layout.data_dir),
            "SUPABASE_JWT_SECRET": secret_of(stack),
        }
        server = exits.enter_context(running_server(stack, log=tmp_path / "log", **own))

        async def work(name: str) -> list[str]:
            async with Api(server.url, user_token(stack)) as api:
                sandbox = await api.create(name=name)
                async with api.following(CHANGED, "sandboxChanged") as live:
                    await live.next()
                    runs = [await api.run(sandbox, f"print({name!r}, {n})") for n in range(5)]
                    await api.mutate(
                        "updateSandbox", "sandbox { id }", sandboxId=sandbox, name="new"
                    )
                    changed = await live.next()
                seen = (await api.query(SEEN))["sandboxes"]
                await api.delete(sandbox)
                assert changed["sandbox"] == {"id": sandbox, "name": "new"}
                assert seen["totalCount"] == 1
                assert seen["nodes"][0]["executions"]["totalCount"] == len(runs)
                return [run.stdout for run in runs]

        one, two = await asyncio.gather(work("one"), work("two"))

    assert one == [f"one {n}\n" for n in range(5)]
    assert two == [f"two {n}\n" for n in range(5)]
    assert "Traceback" not in (tmp_path / "log").read_text()


async def provide(api: Api, asked: dict[str, object]) -> None:
    """Answer the input that is asked for."""
    values = {"executionId": asked["executionId"], "inputSeq": asked["seq"], "text": "x"}
    await api.mutate("provideInput", "execution { id }", **values)


async def ask(
    server: Server, token: str, workers: list[psutil.Process], execution: str
) -> tuple[int, object]:
    """Ask for an execution on a connection of its own; say which worker answered what."""
    query = "query($id: ID!) { execution(id: $id) { status stdout } }"
    headers = {"Authorization": f"Bearer {token}"}
    body = {"query": query, "variables": {"id": execution}}
    async with httpx.AsyncClient(base_url=server.url, headers=headers) as client:
        async with client.stream("POST", "/graphql", json=body) as response:
            stream = response.extensions["network_stream"]
            _, port = stream.get_extra_info("client_addr")
            worker = worker_of(workers, port)
            await response.aread()
        return worker, response.json()["data"]["execution"]
