"""Paths that lead out of a workspace, and what code plants in one: nothing of the host's."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tests.support.api import Api, GraphQLError
from tests.support.workspace import listed, upload_url


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    """Give a client without any token."""
    async with httpx.AsyncClient(timeout=60) as client:
        yield client


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("../x", ".."),
        ("a/../../x", ".."),
        ("/workspace/../etc/x", ".."),
        ("/tmp/data.csv", "/workspace"),  # noqa: S108 - it is refused
        ("/etc/passwd", "/workspace"),
        ("/workspacex/y", "/workspace"),
        ("//etc/x", "/workspace"),
        ("a\0b", "NUL"),
        ("", "workspace"),
        ("x" * 256, "255"),
        ("x/" * 2100 + "x", "4095"),
        ("\ud800", "surrogate"),
    ],
    ids=lambda value: repr(value)[:24],
)
async def test_paths_outside_are_refused_everywhere(
    api: Api, sandbox: str, path: str, says: str
) -> None:
    """No operation takes a path that does not name something in the workspace."""
    document = "query($id: ID!, $p: String!) { sandbox(id: $id) { file(path: $p) { path } } }"
    values = {"sandboxId": sandbox, "path": path}
    for attempt in (
        api.mutate("uploadFile", "file { path }", content="eA==", **values),
        api.mutate("deleteFile", "deletedPath", **values),
        api.mutate("createUploadUrl", "url", **values),
        api.query(document, id=sandbox, p=path),
        listed(api, sandbox, path or "../"),
    ):
        with pytest.raises(GraphQLError) as refused:
            await attempt
        assert refused.value.code == "BAD_USER_INPUT"
        assert refused.value.extensions["field"] == "path"
        assert says in refused.value.message or path == ""


PLANT = """
import os
os.makedirs('trap/loop')
for name, target in {targets!r}.items():
    os.symlink(target, f'trap/{{name}}')
os.symlink('.', 'trap/loop/self')
os.symlink('again', 'trap/again')
"""


async def test_planted_links_reach_nothing(
    api: Api, sandbox: str, http: httpx.AsyncClient, tmp_path: Path
) -> None:
    """Through links and loops of links nothing of the host is read, written or deleted."""
    (tmp_path / "host.txt").write_text("host")
    tmp_path.chmod(0o777)
    targets = {
        "file": str(tmp_path / "host.txt"),
        "dir": str(tmp_path),
        "root": "/",
        "etc": "../../../../../../../etc",
        "proc": "/proc/self/root",
    }
    planted = await api.run(sandbox, PLANT.format(targets=targets))
    assert planted.status == "SUCCEEDED"
    inside = ("dir/host.txt", "root/etc/passwd", "etc/passwd", "proc/etc/passwd", "loop/self/x")
    for path in (*inside, "file", "again"):
        await assert_unreachable(api, http, sandbox, f"trap/{path}")
    for name in targets:
        await api.mutate("deleteFile", "deletedPath", sandboxId=sandbox, path=f"trap/{name}")
    await api.mutate("deleteFile", "deletedPath", sandboxId=sandbox, path="trap")

    assert [path.name for path in tmp_path.iterdir()] == ["host.txt"]
    assert (tmp_path / "host.txt").read_text() == "host"
    assert Path("/etc/passwd").exists()


async def test_a_planted_fifo_holds_nothing_up(
    api: Api, sandbox: str, http: httpx.AsyncClient
) -> None:
    """Reads and writes at a fifo's path come back; no side waits for the sandbox's."""
    await api.run(sandbox, "import os\nos.mkfifo('fifo')")
    async with asyncio.timeout(10):
        found = await api.answer(
            'query($id: ID!) { sandbox(id: $id) { file(path: "fifo") { content } } }', id=sandbox
        )
        put = await http.put(await upload_url(api, sandbox, "fifo"), content=b"x")

    assert found["data"]["sandbox"]["file"] is None
    assert put.status_code in {201, 400}


async def assert_unreachable(api: Api, http: httpx.AsyncClient, sandbox: str, path: str) -> None:
    """Claim that no way of reading or writing goes through this path."""
    document = "query($id: ID!, $p: String!) { sandbox(id: $id) { file(path: $p) { content } } }"
    answer = await api.answer(document, id=sandbox, p=path)
    if "errors" in answer:
        assert answer["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT", (path, answer)
        assert answer["errors"][0]["extensions"]["field"] == "path"
    assert (answer["data"]["sandbox"] or {}).get("file") is None
    with pytest.raises(GraphQLError) as refused:
        await api.upload(sandbox, path, b"from outside")
    assert refused.value.code == "BAD_USER_INPUT", path
    assert refused.value.extensions["field"] == "path"
    put = await http.put(await upload_url(api, sandbox, path), content=b"from outside")
    assert (put.status_code, put.json()["code"]) == (400, "BAD_USER_INPUT"), path
