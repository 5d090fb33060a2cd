"""Requests that proxies, browsers or nobody would send: headers, hosts, other sites."""

from collections.abc import AsyncIterator
from urllib.parse import quote

import httpx
import pytest
from structlog.testing import capture_logs

from app.factory import create_app
from app.logs import _console
from app.settings import Settings
from tests.support.attacks import ASK, bearer
from tests.support.raw import HANDSHAKE, connected, request, shaken
from tests.support.serving import serving, socket
from tests.support.stub_services import Stubs, token

FRIEND, FOREIGN = "https://friend.example", "https://elsewhere.example"
ASKED = quote(ASK["query"])


@pytest.fixture
async def url() -> AsyncIterator[str]:
    """Serve, and see that nothing was an error of ours."""
    allowed = Settings(_env_file=None, allowed_origins=(FRIEND,))
    with capture_logs() as logs:
        async with serving(create_app(allowed, Stubs().open)) as address:
            yield address
    assert [line for line in logs if line["log_level"] == "error"] == []


@pytest.fixture
async def http(url: str) -> AsyncIterator[httpx.AsyncClient]:
    """Give a client without a token."""
    async with httpx.AsyncClient(base_url=url) as client:
        yield client


async def answer_to(url: str, sent: bytes) -> bytes:
    """Send bytes, and return the head of what comes back."""
    async with connected(url) as raw:
        await raw.send(sent)
        return await raw.head()


def chunked(**headers: str) -> bytes:
    """Write a request whose body is chunked and empty."""
    given = {"Transfer-Encoding": "chunked", **headers}
    return request(method="POST", headers=given) + b"0\r\n\r\n"


@pytest.mark.parametrize(
    "sent",
    [
        chunked(**{"Content-Length": "5"}),
        request(method="POST", headers={"Content-Length": "5"})[:-2] + b"Content-Length: 6\r\n\r\n",
        request(method="POST", headers={"Content-Length": "-1"}),
        request(method="POST", headers={"Content-Length": "5x"}),
        request(method="POST", headers={"Transfer-Encoding": "chunked, identity"}),
        request(method="POST", headers={"Transfer-Encoding": "\x0bchunked"}),
        request(method="POST", headers={"Transfer-Encoding": "chunked"}) + b"zz\r\n",
        request(headers={"X-Odd": "a\x00b"}),
        request(headers={"X-Odd": "a\rb: c"}),
        request(headers={"X Odd": "a"}),
        request("/graphql?a b"),
        request(method="CONNECT", path="elsewhere.example:443"),
        b"GET /health HTTP/9.9\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
async def test_what_two_parsers_might_read_differently(url: str, sent: bytes) -> None:
    """It is refused, and the connection is over: nothing is smuggled behind it."""
    async with connected(url) as raw:
        await raw.send(sent + request("/health"))
        came = await raw.ended()

    assert came.startswith(b"HTTP/1.1 400 ")
    assert came.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"Sec-WebSocket-Key": ""},
        {"Sec-WebSocket-Key": "short"},
        {"Sec-WebSocket-Version": "8"},
        {"Sec-WebSocket-Protocol": "a b"},
        {"X-Long": "x" * 10_000},
        {f"X-Many-{number}": "x" for number in range(200)},
    ],
    ids=["no key", "short key", "version", "protocol", "long", "many"],
)
async def test_handshakes_that_are_none(url: str, changes: dict[str, str]) -> None:
    """They are answered with 400, and the connection ends."""
    async with connected(url) as raw:
        await raw.send(request(headers={**HANDSHAKE, **changes}))
        came = await raw.ended()

    assert came.startswith(b"HTTP/1.1 400 ")


async def test_a_handshake_by_post(url: str) -> None:
    """It is no handshake."""
    came = await answer_to(url, request(method="POST", headers=HANDSHAKE))

    assert came.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 405 "))


@pytest.mark.parametrize("path", ["/health", "/files/x", "/", "/static/x", "/nowhere"])
async def test_websockets_are_at_one_address_alone(url: str, path: str) -> None:
    """Elsewhere the handshake is refused."""
    came = await answer_to(url, request(path, HANDSHAKE))

    assert came.startswith((b"HTTP/1.1 403 ", b"HTTP/1.1 404 "))


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("Accept", ";;;q=,\xff"),
        ("Accept", ",".join(["a/b"] * 5000)),
        ("Accept", "application/json;q=nan"),
        ("Authorization", "Bearer \xe9\xff"),
        ("Authorization", "Bearer " + "x" * 60_000),
        ("Authorization", "Bearer " + "." * 10_000),
        ("Content-Type", 'application/json; charset="utf-8'),
        ("Origin", "null"),
        ("Origin", "http://[::1"),
        ("Origin", "\xe9"),
        ("X-Request-Id", "x\tx"),
        ("X-Forwarded-For", "127.0.0.1, ::1, \xff"),
        ("X-HTTP-Method-Override", "DELETE"),
        ("Cookie", "a=" + "b" * 50_000),
        ("Range", "bytes=" + "0-1," * 5000),
    ],
    ids=lambda text: text[:24],
)
async def test_odd_values(url: str, header: str, value: str) -> None:
    """A header that is nonsense is the client's fault, or of no consequence."""
    came = await answer_to(url, request(f"/graphql?query={ASKED}", {header: value}))

    assert came.split(b" ")[1] in {b"401", b"406"}


@pytest.mark.parametrize(
    "path",
    [
        "/static/../../../etc/passwd",
        "/static/%2e%2e/%2e%2e/etc/passwd",
        "/static/..%2f..%2fetc/passwd",
        "/static//etc/passwd",
        "/static/%00",
        "/graphql%00",
    ],
)
async def test_paths_that_lead_elsewhere(url: str, path: str) -> None:
    """They lead to nothing."""
    assert b" 404 " in await answer_to(url, request(path))


async def test_a_host_opens_nothing(url: str) -> None:
    """Another host's name, or an address of another server, is no way past the token."""
    for sent in (
        request(f"/graphql?query={ASKED}", host="localhost"),
        request(f"http://127.0.0.1/graphql?query={ASKED}", host="elsewhere.example"),
        request(f"/graphql?query={ASKED}", {"X-Forwarded-Host": "127.0.0.1"}),
    ):
        assert b" 401 " in await answer_to(url, sent)


def test_what_a_log_shows_is_one_line() -> None:
    """A path can forge neither lines nor colours, where people read the log."""
    shown = _console()(None, "info", {"event": "request", "path": "/x\n[error] forged\x1b[31m"})

    assert "\n" not in shown
    assert "\x1b" not in shown


SIMPLE = ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x")
"""What a page may send to another site without being asked whether it may (Fetch, 2.2.2)."""


@pytest.mark.parametrize("kind", SIMPLE)
async def test_a_page_elsewhere_can_not_make_a_form_of_it(
    http: httpx.AsyncClient, kind: str
) -> None:
    """What needs no preflight is not read, even with a good token."""
    body = b'{"query": "mutation { deleteFile(input: {sandboxId: 1, path: 2}) { deletedPath } }"}'
    headers = {"Content-Type": kind, "Origin": FOREIGN, "Authorization": bearer()}
    answer = await http.post("/graphql", content=body, headers=headers)

    assert answer.status_code == 415
    assert "access-control-allow-origin" not in answer.headers


async def test_a_browser_adds_nothing_that_would_do(http: httpx.AsyncClient) -> None:
    """Neither a cookie nor a part of an address is a token: only a page that has it can send it."""
    known = token()
    cookies = {"Authorization": f"Bearer {known}", "access_token": known, "sb-access-token": known}
    places = [
        await http.post("/graphql", json=ASK, headers={"Cookie": f"{name}={value}"})
        for name, value in cookies.items()
    ]
    places += [
        await http.get("/graphql", params={**ASK, name: known})
        for name in ("token", "access_token", "Authorization", "authorization")
    ]

    assert {answer.status_code for answer in places} == {401}


async def test_a_page_elsewhere_reads_nothing(http: httpx.AsyncClient) -> None:
    """No answer names it, or anybody, as allowed; none allows credentials."""
    asked = {"Access-Control-Request-Method": "POST", "Authorization": bearer()}
    for origin in (FOREIGN, "null", f"{FRIEND}.elsewhere.example", "http://friend.example", "*"):
        headers = {**asked, "Origin": origin}
        preflight = await http.options("/graphql", headers=headers)
        answer = await http.post("/graphql", json=ASK, headers=headers)
        assert preflight.status_code == 403
        assert "access-control-allow-origin" not in {**preflight.headers, **answer.headers}
    friendly = await http.options("/graphql", headers={**asked, "Origin": FRIEND})

    assert friendly.headers["access-control-allow-origin"] == FRIEND
    assert "access-control-allow-credentials" not in friendly.headers


@pytest.mark.parametrize(
    "origin", [FOREIGN, "null", f"{FRIEND}.elsewhere.example", "http://friend.example", "", "\xe9"]
)
async def test_a_page_elsewhere_opens_no_socket(url: str, origin: str) -> None:
    """The handshake is refused, whatever cookie and protocol come with it."""
    headers = {**HANDSHAKE, "Origin": origin, "Cookie": f"token={token()}"}
    came = await answer_to(url, request(headers=headers))

    assert came.startswith(b"HTTP/1.1 403 ")


async def test_a_socket_takes_its_token_from_the_first_message_alone(url: str) -> None:
    """What stands in the handshake, where a browser might add it, names nobody."""
    headers = {"Authorization": bearer(), "Cookie": f"Authorization={bearer()}"}
    async with shaken(url, headers) as raw:
        await raw.send(b"\x81\x9b\0\0\0\0" + b'{"type": "connection_init"}')
        assert await raw.closed() == 4403
    async with socket(url, params={"headers": {"Authorization": bearer()}}) as client:
        assert (await client.closed())[0] == 4403
