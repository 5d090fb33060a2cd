"""What tests ask about a sandbox's files, over GraphQL."""

from tests.support.api import Api, Json

ENTRIES = "name path kind sizeBytes modifiedAt"
WAIT = "import os, time\nwhile not os.path.exists({path!r}):\n    time.sleep(0.01)\n"
"""Code that goes on once a file is there."""


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
