"""Signed transfers, through a real server into a real sandbox."""

import asyncio
import base64
import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from urllib.parse import urlsplit

import httpx
import pytest

from app.in_flight import MOST_BYTES
from app.transfers import HELD_BYTES
from tests.support.api import Api
from tests.support.faults import eventually
from tests.support.raw import connected

MIB = 2**20
SIZE = 5 * 2**20 + 3
CONTENT = os.urandom(SIZE)
NAME = 'odd "name" é.bin'
PATH = f"folder/{NAME}"


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    """Give a client without any token."""
    async with httpx.AsyncClient(timeout=60) as client:
        yield client


async def upload_address(api: Api, sandbox: str, path: str = PATH) -> str:
    """Ask for an address that takes a file."""
    payload = await api.mutate(
        "createUploadUrl", "url expiresAt maxBytes", sandboxId=sandbox, path=path
    )
    return str(payload["url"])


async def download_address(api: Api, sandbox: str, path: str = PATH) -> str:
    """Ask for an address that serves a file."""
    query = """query ($id: ID!, $path: String!) {
        sandbox(id: $id) { file(path: $path) { downloadUrl } } }"""
    found = await api.query(query, id=sandbox, path=path)
    return str(found["sandbox"]["file"]["downloadUrl"])


@pytest.fixture
async def uploaded(api: Api, sandbox: str, http: httpx.AsyncClient) -> str:
    """Have a file in the sandbox, and return the address that serves it."""
    answer = await http.put(await upload_address(api, sandbox), content=CONTENT)
    assert answer.status_code == 201
    assert answer.json() == {"path": PATH, "sizeBytes": SIZE}
    return await download_address(api, sandbox)


async def test_bytes_come_back_equal(http: httpx.AsyncClient, uploaded: str) -> None:
    """What was put is what is got, as an attachment that no browser runs."""
    answer = await http.get(uploaded)

    assert hashlib.sha256(answer.content).digest() == hashlib.sha256(CONTENT).digest()
    headers = answer.headers
    assert headers["content-type"] == "application/octet-stream"
    assert headers["content-disposition"].startswith('attachment; filename="odd _name_ _.bin"')
    assert headers["content-security-policy"] == "sandbox"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert headers["content-length"] == str(SIZE)


@pytest.mark.parametrize(
    ("header", "begin", "end"),
    [("bytes=0-0", 0, 1), (f"bytes={SIZE - 2}-", SIZE - 2, SIZE), ("bytes=-7", SIZE - 7, SIZE)],
)
async def test_ranges(
    http: httpx.AsyncClient, uploaded: str, header: str, begin: int, end: int
) -> None:
    """A download resumes where it was left."""
    answer = await http.get(uploaded, headers={"range": header})

    assert answer.status_code == 206
    assert answer.content == CONTENT[begin:end]
    assert answer.headers["content-range"] == f"bytes {begin}-{end - 1}/{SIZE}"


async def test_range_of_a_file_that_changed(
    api: Api, sandbox: str, http: httpx.AsyncClient, uploaded: str
) -> None:
    """`If-Range` with the tag of an older file gets the new file as a whole."""
    tag = (await http.head(uploaded)).headers["etag"]
    asked = {"range": "bytes=0-0", "if-range": tag}
    assert (await http.get(uploaded, headers=asked)).status_code == 206

    await http.put(await upload_address(api, sandbox), content=b"new")
    answer = await http.get(uploaded, headers=asked)

    assert (answer.status_code, answer.content) == (200, b"new")


async def test_range_beyond_the_end(http: httpx.AsyncClient, uploaded: str) -> None:
    """A range behind the end says how large the file is."""
    answer = await http.get(uploaded, headers={"range": f"bytes={SIZE}-"})

    assert (answer.status_code, answer.headers["content-range"]) == (416, f"bytes */{SIZE}")


async def test_head(http: httpx.AsyncClient, uploaded: str) -> None:
    """HEAD tells of the file and sends none of it."""
    answer = await http.head(uploaded)

    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-length"] == str(SIZE)


async def test_empty_file(api: Api, sandbox: str, http: httpx.AsyncClient) -> None:
    """A file may be empty."""
    await http.put(await upload_address(api, sandbox, "empty"), content=b"")
    answer = await http.get(await download_address(api, sandbox, "empty"))

    assert (answer.status_code, answer.content) == (200, b"")


async def test_an_address_is_good_for_one_thing(
    api: Api, sandbox: str, http: httpx.AsyncClient, uploaded: str
) -> None:
    """An address for one direction doesn't serve the other, and none that was touched does."""
    upload = await upload_address(api, sandbox)
    parts = urlsplit(uploaded)
    signature = parts.path.rpartition("/")[2]
    touched = uploaded.replace(signature, signature[:-4] + signature[-4:].swapcase())

    for answer in (
        await http.put(uploaded, content=b"x"),
        await http.get(upload),
        await http.get(touched),
        await http.get(f"{parts.scheme}://{parts.netloc}/files/nonsense"),
    ):
        assert answer.status_code == 403
        assert answer.json()["code"] == "FORBIDDEN"


async def test_length_over_the_limit_is_refused_early(api: Api, sandbox: str) -> None:
    """An upload that announces too many bytes is refused before it sends any."""
    parts = urlsplit(await upload_address(api, sandbox, "large"))
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    async with asyncio.timeout(10):
        writer.write(
            f"PUT {parts.path} HTTP/1.1\r\nHost: x\r\nContent-Length: {2**40}\r\n\r\n".encode()
        )
        answer = await reader.readuntil(b"}")
    writer.close()
    await writer.wait_closed()

    assert b" 413 " in answer
    assert b"PAYLOAD_TOO_LARGE" in answer


async def test_upload_that_is_cut_leaves_nothing(api: Api, sandbox: str) -> None:
    """An upload whose client goes away leaves no file, and no part of one."""
    parts = urlsplit(await upload_address(api, sandbox, "cut.bin"))
    _, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(
        f"PUT {parts.path} HTTP/1.1\r\nHost: x\r\nContent-Length: {SIZE}\r\n\r\n".encode()
        + CONTENT[: SIZE - 1]
    )
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    run = await api.run(sandbox, "import os; 'cut.bin' in os.listdir()")

    assert run.result == "False"


async def test_upload_of_32_mib(api: Api, sandbox: str) -> None:
    """`uploadFile` takes 32 MiB, and not a byte more."""
    most = os.urandom(2**20) * 32
    content = base64.b64encode(most).decode()
    await api.mutate(
        "uploadFile", "file { sizeBytes }", sandboxId=sandbox, path="most", content=content
    )
    run = await api.run(
        sandbox, "import hashlib; hashlib.sha256(open('most', 'rb').read()).hexdigest()"
    )
    assert run.result == repr(hashlib.sha256(most).hexdigest())

    query = "mutation ($input: UploadFileInput!) { uploadFile(input: $input) { file { path } } }"
    more = base64.b64encode(most + b"x").decode()
    answer = await api.answer(query, input={"sandboxId": sandbox, "path": "p", "content": more})

    assert answer["errors"][0]["extensions"]["code"] == "PAYLOAD_TOO_LARGE"


async def test_downloads_that_nobody_takes_are_bounded(
    api: Api, sandbox: str, http: httpx.AsyncClient
) -> None:
    """However many hold one address: more than a user has under way are refused, and go on later.

    A file without blocks is as large as its name says, for whoever downloads it.
    """
    await api.run(sandbox, f"open('sparse', 'wb').truncate({64 * MIB})")
    address = await download_address(api, sandbox, "sparse")
    request = f"GET {urlsplit(address).path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    async with AsyncExitStack() as stack:
        for _ in range(MOST_BYTES // HELD_BYTES):
            raw = await stack.enter_async_context(connected(address))
            await raw.send(request)
            assert b" 200 " in await raw.head()
        refused = await http.get(address)
        small = await http.head(address)
    served = await eventually(
        lambda: http.get(address), lambda answer: answer.status_code != refused.status_code
    )

    assert (refused.status_code, refused.json()["code"]) == (429, "QUOTA_EXCEEDED")
    assert small.status_code == 200
    assert (served.status_code, len(served.content)) == (200, 64 * MIB)
