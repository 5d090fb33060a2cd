"""Signed addresses: large files without a token, for one user, path, size and time."""

import asyncio
import base64
import hashlib
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID

import httpx
import pytest

from services.entities import SandboxId, UserId
from services.signing import Transfer, TransferMethod, TransferSigner
from tests.support.api import Api, GraphQLError
from tests.support.rooms import until
from tests.support.stack import Server, Stack
from tests.support.workspace import download_url, file, upload_url

MIB = 1024 * 1024


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    """Give a client without any token."""
    async with httpx.AsyncClient(timeout=60) as client:
        yield client


async def test_33_mib_go_over_a_signed_address(
    api: Api, sandbox: str, http: httpx.AsyncClient
) -> None:
    """33 MiB are PAYLOAD_TOO_LARGE for `uploadFile`, and pass by `createUploadUrl`."""
    content = os.urandom(MIB) * 33
    encoded = base64.b64encode(content).decode()
    with pytest.raises(GraphQLError) as refused:
        await api.mutate(
            "uploadFile", "file { path }", sandboxId=sandbox, path="large", content=encoded
        )
    missing = await file(api, sandbox, "large", "path")
    put = await http.put(await upload_url(api, sandbox, "large"), content=content)
    got = await http.get(await download_url(api, sandbox, "large"))

    assert refused.value.code == "PAYLOAD_TOO_LARGE"
    assert refused.value.extensions["field"] == "content"
    assert missing is None
    assert put.status_code == 201
    assert hashlib.sha256(got.content).digest() == hashlib.sha256(content).digest()


async def test_a_file_that_goes_during_a_download_cuts_it(
    api: Api, sandbox: str, http: httpx.AsyncClient
) -> None:
    """Fewer bytes than announced arrive, never others; the sandbox and the API go on."""
    await api.run(sandbox, f"with open('going', 'wb') as f:\n    f.write(b'a' * {64 * MIB})")
    url = await download_url(api, sandbox, "going")
    received = bytearray()
    async with http.stream("GET", url) as response:
        with pytest.raises(httpx.RemoteProtocolError):  # noqa: PT012 - any of them may be cut
            async for chunk in response.aiter_bytes():
                if not received:
                    await api.mutate("deleteFile", "deletedPath", sandboxId=sandbox, path="going")
                received += chunk

    assert 0 < len(received) < 64 * MIB
    assert received.count(b"a") == len(received)
    assert (await http.get(url)).status_code == 404
    assert (await api.run(sandbox, "3")).result == "3"


@pytest.fixture
def signer(stack: Stack, server: Server) -> TransferSigner:
    """Give a signer with the stack's own key."""
    return TransferSigner(stack.layout.secret_key.read_text().strip().encode(), server.url)


def transfer(api_user: str, sandbox: str, **changes: object) -> Transfer:
    """Describe a good PUT, changed."""
    values: dict[str, object] = {
        "method": TransferMethod.PUT,
        "user_id": UserId(UUID(api_user)),
        "sandbox_id": SandboxId(UUID(sandbox)),
        "path": "signed.bin",
        "max_bytes": 1000,
        "expires_at": datetime.now(UTC) + timedelta(seconds=60),
    }
    return Transfer(**(values | changes))  # type: ignore[arg-type]


async def chunked(size: int) -> AsyncIterator[bytes]:
    """Send bytes without announcing how many."""
    for _ in range(size):
        yield b"x"


async def test_a_signature_covers_time_user_and_size(
    api: Api, other: Api, sandbox: str, http: httpx.AsyncClient, signer: TransferSigner
) -> None:
    """Expired, another user's and over-size transfers are refused, and leave nothing."""
    me = (await api.query("{ viewer { id } }"))["viewer"]["id"]
    they = (await other.query("{ viewer { id } }"))["viewer"]["id"]
    past = datetime.now(UTC) - timedelta(seconds=1)
    expired = signer.address(transfer(me, sandbox, expires_at=past))
    theirs = signer.address(transfer(they, sandbox))
    good = signer.address(transfer(me, sandbox))

    answers = {
        "expired": await http.put(expired, content=b"x"),
        "theirs": await http.put(theirs, content=b"x"),
        "announced": await http.put(good, content=b"x" * 1001),
        "unannounced": await http.put(good, content=chunked(1001)),
        "wrong method": await http.get(good),
    }
    missing = await file(api, sandbox, "signed.bin", "path")
    most = await http.put(good, content=chunked(1000))

    assert {name: (a.status_code, a.json()["code"]) for name, a in answers.items()} == {
        "expired": (403, "FORBIDDEN"),
        "theirs": (404, "NOT_FOUND"),
        "announced": (413, "PAYLOAD_TOO_LARGE"),
        "unannounced": (413, "PAYLOAD_TOO_LARGE"),
        "wrong method": (403, "FORBIDDEN"),
    }
    assert missing is None
    assert most.status_code == 201


async def test_a_changed_signature_serves_nothing(
    api: Api, sandbox: str, http: httpx.AsyncClient
) -> None:
    """Another path, another key or a token in the signature's place is FORBIDDEN."""
    await api.upload(sandbox, "one", b"1")
    await api.upload(sandbox, "two", b"2")
    one, two = [await download_url(api, sandbox, name) for name in ("one", "two")]
    head, _, signature = one.rpartition(".")
    other_path = two.rpartition(".")[0] + "." + signature
    token = str(api.token)

    for address in (
        other_path,
        f"{head}.",
        f"{head}.{signature[::-1]}",
        one.rpartition("/")[0] + "/" + token,
        one.rpartition("/")[0] + "/..%2f..%2fetc%2fpasswd",
    ):
        answer = await http.get(address)
        assert answer.status_code in {403, 404}, address
        assert b"1" != answer.content != b"2"


@pytest.mark.parametrize("seconds", [0, -1, 3601])
async def test_addresses_last_an_hour_at_most(api: Api, sandbox: str, seconds: int) -> None:
    """`expiresInSeconds` is 1 to 3600, for both directions."""
    await api.upload(sandbox, "hour", b"1")
    document = """query($id: ID!, $s: Int!) {
        sandbox(id: $id) { file(path: "hour") { downloadUrl(expiresInSeconds: $s) } } }"""
    for attempt in (
        api.mutate("createUploadUrl", "url", sandboxId=sandbox, path="x", expiresInSeconds=seconds),
        api.query(document, id=sandbox, s=seconds),
    ):
        with pytest.raises(GraphQLError) as refused:
            await attempt
        assert refused.value.code == "BAD_USER_INPUT"
        assert refused.value.extensions["field"] == "expiresInSeconds"


async def test_the_base_of_addresses_is_no_clients_word(
    api: Api, sandbox: str, server: Server
) -> None:
    """A Host header does not come into an address."""
    document = """mutation($id: ID!) {
        createUploadUrl(input: {sandboxId: $id, path: "x"}) { url } }"""
    body = {"query": document, "variables": {"id": sandbox}}
    answer = await api.http.post("/graphql", json=body, headers={"Host": "evil.example"})
    url = urlsplit(answer.json()["data"]["createUploadUrl"]["url"])

    assert f"{url.scheme}://{url.netloc}" == server.url


async def test_an_upload_that_is_cut_leaves_nothing(api: Api, sandbox: str, stack: Stack) -> None:
    """A PUT whose client goes away leaves neither a file nor staged bytes."""
    url = urlsplit(await upload_url(api, sandbox, "cut.bin"))
    used = "stats { diskUsedBytes sessionId }"
    before = (await api.sandbox(sandbox, used))["stats"]
    _, writer = await asyncio.open_connection(url.hostname, url.port)
    head = f"PUT {url.path} HTTP/1.1\r\nHost: x\r\nContent-Length: {8 * MIB}\r\n\r\n"
    writer.write(head.encode() + b"x" * (6 * MIB))
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    staging = stack.layout.sandboxes / before["sessionId"]

    await until(lambda: is_empty(staging))
    assert await file(api, sandbox, "cut.bin", "path") is None
    after = (await api.sandbox(sandbox, used))["stats"]
    assert after["diskUsedBytes"] < before["diskUsedBytes"] + 2 * MIB


async def is_empty(session: Path) -> bool:
    """Whether no upload is staged in a session's folder."""
    return not any(path.is_file() for path in session.rglob("staging/*"))
