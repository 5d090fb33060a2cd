"""Files over GraphQL: equal bytes, listed, replaced and deleted."""

import hashlib
import os
from collections.abc import AsyncIterator
from uuid import uuid4

import httpx
import pytest

from tests.support.api import Api, GraphQLError
from tests.support.workspace import download_url, file, listed

MIB = 1024 * 1024
EVERY_BYTE = bytes(range(256)) * 3


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    """Give a client without any token."""
    async with httpx.AsyncClient(timeout=60) as client:
        yield client


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
