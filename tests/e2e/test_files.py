"""Files over GraphQL and signed addresses: equal bytes, and nothing of the host's."""

import asyncio
import base64
import hashlib
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import httpx
import pytest

from services.entities import SandboxId, UserId
from services.signing import Transfer, TransferMethod, TransferSigner
from tests.support.api import Api, GraphQLError, Json
from tests.support.rooms import until
from tests.support.stack import Server, Stack

MIB = 1024 * 1024
EVERY_BYTE = bytes(range(256)) * 3
ENTRIES = "name path kind sizeBytes modifiedAt"


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    """Give a client without any token."""
    async with httpx.AsyncClient(timeout=60) as client:
        yield client


async def listed(api: Api, sandbox: str, path: str = ".", **values: object) -> list[Json]:
    """List a folder."""
    arguments = "path: $path, first: $first, after: $after"
    document = f"""query($id: ID!, $path: String!, $first: Int!, $after: String) {{
        sandbox(id: $id) {{ files({arguments}) {{ {ENTRIES} }} }} }}"""
    values = {"id": sandbox, "path": path, "first": 1000} | values
    found: list[Json] = (await api.query(document, **values))["sandbox"]["files"]
    return found


async def file(api: Api, sandbox: str, path: str, fields: str) -> Json | None:
    """Look for a file."""
    document = f"""query($id: ID!, $path: String!) {{
        sandbox(id: $id) {{ file(path: $path) {{ {fields} }} }} }}"""
    found: Json | None = (await api.query(document, id=sandbox, path=path))["sandbox"]["file"]
    return found


async def upload_url(api: Api, sandbox: str, path: str) -> str:
    """Ask for an address that takes a file."""
    payload = await api.mutate("createUploadUrl", "url", sandboxId=sandbox, path=path)
    return str(payload["url"])


async def download_url(api: Api, sandbox: str, path: str) -> str:
    """Ask for an address that serves a file."""
    found = await file(api, sandbox, path, "downloadUrl")
    assert found is not None
    return str(found["downloadUrl"])


@pytest.mark.parametrize(
    "content",
    [b"", b"\0", EVERY_BYTE, b"\xff\xfe\r\n\x80", "ünï\u2028🎉".encode(), os.urandom(MIB)],
    ids=["empty", "nul", "every byte", "no utf-8", "unicode", "1 MiB"],
)
async def test_bytes_come_back_equal(api: Api, sandbox: str, content: bytes) -> None:
    """What is uploaded is what code reads and what `content` answers, whatever it is."""
    name = f"bytes-{uuid4().hex}"
    written = await api.upload(sandbox, name, content)
    run = await api.run(
        sandbox, f"import hashlib\nprint(hashlib.sha256(open({name!r}, 'rb').read()).hexdigest())"
    )

    assert written == {"path": name, "sizeBytes": len(content)}
    assert await api.download(sandbox, name) == content
    assert run.stdout.strip() == hashlib.sha256(content).hexdigest()


async def test_content_over_a_mebibyte_is_not_inline(
    api: Api, sandbox: str, http: httpx.AsyncClient
) -> None:
    """One byte over the inline limit `content` is null, and `downloadUrl` serves it."""
    content = os.urandom(5 * MIB)
    await api.upload(sandbox, "over.bin", content[: MIB + 1])
    over = await file(api, sandbox, "over.bin", "content sizeBytes")
    await api.upload(sandbox, "five.bin", content)
    five = await http.get(await download_url(api, sandbox, "five.bin"))

    assert over == {"content": None, "sizeBytes": MIB + 1}
    assert five.content == content


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


async def test_folders_are_listed_by_name_in_pages(api: Api, sandbox: str) -> None:
    """Entries have kind, size and time; `after` goes on behind a name; links are not followed."""
    await api.run(
        sandbox,
        "import os\nos.makedirs('shelf/d')\n"
        "for n in 'bca':\n    open(f'shelf/{n}', 'w').write(n * 3)\n"
        "os.symlink('/etc/passwd', 'shelf/link')",
    )
    found = await listed(api, sandbox, "shelf")
    first = await listed(api, sandbox, "/workspace/shelf", first=2)
    rest = await listed(api, sandbox, "./shelf/", first=2, after="b")

    assert [(e["name"], e["kind"], e["path"]) for e in found] == [
        ("a", "FILE", "shelf/a"),
        ("b", "FILE", "shelf/b"),
        ("c", "FILE", "shelf/c"),
        ("d", "DIRECTORY", "shelf/d"),
        ("link", "SYMLINK", "shelf/link"),
    ]
    assert found[0]["sizeBytes"] == 3
    assert found[0]["modifiedAt"].startswith("20")
    assert [e["name"] for e in first] == ["a", "b"]
    assert [e["name"] for e in rest] == ["c", "d"]


async def test_upload_makes_folders_and_replaces_files(api: Api, sandbox: str) -> None:
    """Parents are made, the old content goes, code may change both; a folder is in the way."""
    await api.upload(sandbox, "deep/er/file.txt", b"old")
    await api.upload(sandbox, "/workspace/deep/er/file.txt", b"new")
    run = await api.run(sandbox, "open('deep/er/file.txt', 'a').write('er')\nos.listdir('deep/er')")
    with pytest.raises(GraphQLError) as folder:
        await api.upload(sandbox, "deep/er", b"x")

    assert run.result == "['file.txt']"
    assert await api.download(sandbox, "deep/er/file.txt") == b"newer"
    assert (folder.value.code, folder.value.extensions["field"]) == ("BAD_USER_INPUT", "path")


async def test_delete_file_removes_files_and_folders(api: Api, sandbox: str) -> None:
    """A file, then a folder with all below it; what is not there is NOT_FOUND."""
    await api.upload(sandbox, "bin/one", b"1")
    await api.upload(sandbox, "bin/two", b"2")
    one = await api.mutate("deleteFile", "deletedPath", sandboxId=sandbox, path="bin/one")
    left = await listed(api, sandbox, "bin")
    await api.mutate("deleteFile", "deletedPath", sandboxId=sandbox, path="bin")
    with pytest.raises(GraphQLError) as gone:
        await api.mutate("deleteFile", "deletedPath", sandboxId=sandbox, path="bin/two")

    assert one == {"deletedPath": "bin/one"}
    assert [entry["name"] for entry in left] == ["two"]
    assert gone.value.code == "NOT_FOUND"


async def test_a_missing_file_is_null(api: Api, sandbox: str) -> None:
    """`file` is null where nothing is, and where a folder is."""
    assert await file(api, sandbox, "nothing/here", "path") is None
    await api.upload(sandbox, "folder/x")
    assert await file(api, sandbox, "folder", "path") is None


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
        ("x/" * 2100 + "x", "4096"),
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
