"""HTTP around the API: health, the page for browsers, origins, masked faults, and the log."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import asyncpg
import httpx
import pytest
from websockets.exceptions import InvalidStatus

from tests.support.api import Api, GraphQLError
from tests.support.serving import socket
from tests.support.stack import Server, Stack

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
FOREIGN = "https://elsewhere.example"


@pytest.fixture
async def http(server: Server) -> AsyncIterator[httpx.AsyncClient]:
    """Give a client without a token."""
    async with httpx.AsyncClient(base_url=server.url, timeout=30) as client:
        yield client


async def test_health_and_ready_need_no_token(http: httpx.AsyncClient) -> None:
    """/health says that the process is up, /ready that all that it needs is there."""
    health, ready = await http.get("/health"), await http.get("/ready")

    assert (health.status_code, health.json()) == (200, {"status": "ok"})
    assert (ready.status_code, ready.json()) == (200, {"status": "ready"})


async def test_a_browser_gets_a_page_that_asks_nobody_else(http: httpx.AsyncClient) -> None:
    """GraphiQL needs no token, and neither it nor its files name another host to load from."""
    page = await http.get("/graphql", headers=BROWSER)
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert re.findall(r"(?:https?:)?//[a-z0-9.-]+", page.text) == []
    for path in re.findall(r"""(?:src|href)=["']?([^"'> ]+)""", page.text):
        if not path.startswith("data:"):
            assert (await http.get(path)).status_code == 200, path


async def test_pages_of_the_same_origin_alone_may_call(
    http: httpx.AsyncClient, server: Server, api: Api
) -> None:
    """By default no other origin may preflight, read an answer or open a websocket."""
    preflight = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization",
    }
    foreign = await http.options("/graphql", headers=preflight | {"Origin": FOREIGN})
    same = await http.options("/graphql", headers=preflight | {"Origin": server.url})
    read = await api.http.post(
        "/graphql", json={"query": "{ viewer { id } }"}, headers={"Origin": FOREIGN}
    )
    async with socket(
        server.url, params={"Authorization": f"Bearer {api.token}"}, origin=server.url
    ) as ours:
        acknowledged = await ours.receive()

    assert foreign.status_code == 403
    assert same.status_code == 204
    assert "access-control-allow-origin" not in read.headers
    assert acknowledged["type"] == "connection_ack"
    with pytest.raises(InvalidStatus) as refused:
        async with socket(server.url, origin=FOREIGN):
            pass
    assert refused.value.response.status_code == 403


async def test_a_sane_request_id_comes_back_and_is_in_the_log(api: Api, server: Server) -> None:
    """The client's id is echoed and marks its lines; one that is odd is replaced."""
    request_id = f"e2e-{uuid4().hex}"
    body = {"query": "{ viewer { id } }"}
    echoed = await api.http.post("/graphql", json=body, headers={"X-Request-Id": request_id})
    odd = await api.http.post("/graphql", json=body, headers={"X-Request-Id": "x' OR 1=1"})

    assert echoed.headers["x-request-id"] == request_id
    assert re.fullmatch(r"[0-9a-f]{32}", odd.headers["x-request-id"])
    assert request_id in server.log.read_text()


@asynccontextmanager
async def without(stack: Stack, table: str) -> AsyncIterator[None]:
    """Have a table away for the length of a block, so that the next query of it is a fault."""
    connection = await asyncpg.connect(stack.state("postgres")["url"])
    try:
        await connection.execute(f"ALTER TABLE sandbox_api.{table} RENAME TO away")
        try:
            yield
        finally:
            await connection.execute(f"ALTER TABLE sandbox_api.away RENAME TO {table}")
    finally:
        await connection.close()


async def test_a_fault_is_masked_and_found_in_the_log(
    api: Api, sandbox: str, stack: Stack, server: Server
) -> None:
    """The client is told an errorId alone; the log has it, with the cause, without the code."""
    marker = f"marker{uuid4().hex}"
    body = {"sandboxId": sandbox, "code": f"'{marker}'", "clientExecutionId": f"{marker}-key"}
    async with without(stack, "executions"):
        with pytest.raises(GraphQLError) as masked:
            await api.mutate("executeCode", "execution { id }", **body)
        with pytest.raises(GraphQLError) as live:
            await api.run(sandbox, f"'{marker}'")
    log = server.log.read_text()

    for fault in (masked.value, live.value):
        assert fault.code == "INTERNAL_SERVER_ERROR"
        assert set(fault.extensions) == {"code", "errorId"}
        assert "sandbox_api" not in fault.message
        assert fault.extensions["errorId"] in log
    assert 'relation "sandbox_api.executions" does not exist' in log
    assert marker not in log
    assert marker.encode().hex() not in log
    assert (await api.run(sandbox, "4")).result == "4"


def logs(stack: Stack, server: Server) -> list[Path]:
    """List every log there is: the API's, Ray's and its actors', Postgres's."""
    roots = (stack.layout.logs, stack.layout.postgres / "log", stack.layout.short / "ray")
    found = [path for root in roots for path in root.rglob("*") if path.is_file()]
    return [server.log, *found]


async def test_no_secret_and_no_code_is_in_any_log(api: Api, stack: Stack, server: Server) -> None:
    """Code, output, input, values, keys, file contents, tokens and addresses leave no trace."""
    marker = f"marker{uuid4().hex}"
    secret = f"{marker}-secret"
    made = await api.create(name="logged", environment=[{"name": "HIDDEN", "value": secret}])
    await api.run(made, f"print('{marker}')\n'{marker}'\nraise ValueError('{marker}')")
    await api.run(made, f"def {marker}(:")
    await api.run(made, f"'{marker}'", environment=[{"name": "ONCE", "value": secret}])
    await api.run(made, f"'{marker}'\nwhile True: pass", timeoutSeconds=0.5)
    async with api.live(made, f"input('{marker}')") as live:
        asked = await live.until("InputRequested")
        values = {"executionId": asked["executionId"], "inputSeq": asked["seq"], "text": secret}
        await api.mutate("provideInput", "execution { id }", **values)
        await live.end()
    await api.upload(made, "file.txt", marker.encode())
    url = (await api.mutate("createUploadUrl", "url", sandboxId=made, path="put.txt"))["url"]
    async with httpx.AsyncClient() as client:
        assert (await client.put(url, content=marker.encode())).status_code == 201
    for document in (f'{{ sandbox(id: "{marker}") {{ id }} }}', f"{{ {marker} ", f"{{ {marker} }}"):
        assert (await api.answer(document))["errors"]
    await api.http.get("/graphql", params={"query": f'{{ node(id: "{marker}") {{ id }} }}'})
    await api.delete(made)

    traces = (marker.encode(), str(api.token).encode(), url.rpartition("/")[2].encode())
    for log in logs(stack, server):
        content = log.read_bytes()
        assert not [trace for trace in traces if trace in content], log
