"""The page for browsers, from a real server on services that answer from memory."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount, Route

from app.factory import create_app
from app.pages import Page
from app.settings import Settings
from ops import web
from tests.support.serving import serving, socket
from tests.support.stub_services import SECRET, Stubs

BROWSER = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
FRIEND = "https://friend.example"
PRODUCTION = {"environment": "production", "database_url": "postgresql://h/d"}
POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self' 'unsafe-inline'",
    "img-src": "data:",
    "font-src": "'self' data:",
    "worker-src": "'self'",
    "connect-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
}


@pytest.fixture(scope="module", autouse=True)
def built() -> None:
    """Have the page built, as the set-up does."""
    web.ensure_node()
    web.ensure()


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, Any]:
    """Give what tells the token of the page and the stubs of one another."""
    return {"_env_file": None, "data_dir": tmp_path, "supabase_jwt_secret": SECRET}


@asynccontextmanager
async def api(
    settings: dict[str, Any], host: str = "127.0.0.1"
) -> AsyncIterator[httpx.AsyncClient]:
    """Have a server of some settings, and a client that comes by loopback."""
    app = create_app(Settings(**settings), Stubs().open)
    async with serving(app, host) as url, httpx.AsyncClient(base_url=url) as client:
        yield client


async def token_in(client: httpx.AsyncClient, **headers: str) -> str:
    """Return the token that the page is given; empty where it is given none."""
    answer = await client.get("/graphql", headers=BROWSER | headers)
    (token,) = re.findall(r'data-token="([^"]*)"', answer.text)
    return str(token)


def policy_of(answer: httpx.Response) -> dict[str, str]:
    """Take a content security policy apart."""
    directives = answer.headers["content-security-policy"].split("; ")
    return dict(directive.split(" ", 1) for directive in directives)


async def test_the_policy(settings: dict[str, Any]) -> None:
    """Page and files allow what is of their own origin, and are kept as long as they are true."""
    async with api(settings) as client:
        page = await client.get("/graphql", headers=BROWSER)
        paths = re.findall(r'(?:src|href|data-\w+-worker)="(/[^"]+)"', page.text)
        files = [await client.get(path) for path in paths]
        other_way = await client.get("/static/graphiql.html")

    assert policy_of(page) == POLICY
    assert page.headers["cache-control"] == "no-store"
    assert len(files) == 5
    for file in files:
        assert file.status_code == 200
        assert policy_of(file) == POLICY
        assert "immutable" in file.headers["cache-control"]
    for answer in (page, *files):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert other_way.status_code == 404


async def test_the_token_is_good(settings: dict[str, Any]) -> None:
    """From this machine the page has a token, which both HTTP and the websocket take."""
    async with api(settings) as client:
        authorization = {"authorization": f"Bearer {await token_in(client)}"}
        asked = {"query": "{ viewer { id } }"}
        answer = await client.post("/graphql", json=asked, headers=authorization)
        async with socket(str(client.base_url).rstrip("/"), params=authorization) as opened:
            acknowledged = await opened.receive()

    assert answer.json()["data"]["viewer"]["id"]
    assert acknowledged["type"] == "connection_ack"


async def test_who_gets_no_token(settings: dict[str, Any]) -> None:
    """Rebound names, what has passed a proxy and scripts of allowed origins get the page bare."""
    shown = {"sec-fetch-dest": "document"}
    bare: tuple[dict[str, str], ...] = (
        {"host": "rebound.example"},
        {"x-forwarded-for": "127.0.0.1"},
        {"x-forwarded-for": "192.0.2.7", "x-forwarded-proto": "https"},
        {"origin": FRIEND},
        {"sec-fetch-dest": "empty"},
        {"sec-fetch-dest": "iframe"},
    )
    async with api({**settings, "allowed_origins": (FRIEND,)}) as client:
        for headers in bare:
            assert await token_in(client, **shown)
            assert await token_in(client, **shown | headers) == "", headers


@pytest.mark.parametrize(
    ("changes", "host"),
    [
        ({}, "0.0.0.0"),  # noqa: S104 - for as long as the test
        ({"public_url": "https://api.example"}, "127.0.0.1"),
        (PRODUCTION, "127.0.0.1"),
    ],
    ids=["bound for all", "published", "production"],
)
async def test_where_nobody_gets_a_token(
    settings: dict[str, Any], changes: dict[str, Any], host: str
) -> None:
    """Not where others reach the server, whatever the settings say, and never in production."""
    async with api({**settings, **changes, "graphiql": True}, host) as client:
        assert await token_in(client) == ""


async def test_production_shows_no_page_unless_allowed(settings: dict[str, Any]) -> None:
    """There a browser is a client like any other, and the page's files are not served."""
    async with api({**settings, **PRODUCTION}) as client:
        page = await client.get("/graphql", headers=BROWSER | {"accept": "text/html"})
        file = await client.get("/static/graphiql.css")

    assert page.status_code == 406
    assert file.status_code == 404


async def test_a_page_that_is_not_built(tmp_path: Path) -> None:
    """It says so and what to do; once it is built, it and its files are there at once."""
    page = Page(built=tmp_path)
    app = Starlette(routes=[Route("/graphql", page.response), Mount("/static", page.files)])
    async with serving(app) as url, httpx.AsyncClient(base_url=url) as client:
        before, no_file = await client.get("/graphql"), await client.get("/static/a.js")
        (tmp_path / "static").mkdir()
        (tmp_path / "static" / "a.js").write_text("1")
        (tmp_path / "graphiql.html").write_text('<body data-token="%TOKEN%">')
        after, file = await client.get("/graphql"), await client.get("/static/a.js")

    assert "GraphiQL has not been built" in before.text
    assert "Node 18" in before.text
    assert "make setup" in before.text
    assert policy_of(before) == POLICY
    assert no_file.status_code == 404
    assert after.text == '<body data-token="">'
    assert (file.status_code, file.text) == (200, "1")
