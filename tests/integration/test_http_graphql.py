"""GraphQL over HTTP against a real server, on services that answer from memory."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
from structlog.testing import capture_logs

from app.factory import create_app
from app.settings import Settings
from app.token import make_token
from tests.support.serving import serving
from tests.support.stub_services import Stubs, token

ASK = {"query": "{ viewer { id } }"}
RESPONSE = "application/graphql-response+json"


@pytest.fixture
def stubs() -> Stubs:
    """Give what stands behind the server."""
    return Stubs()


@pytest.fixture
async def http(stubs: Stubs) -> AsyncIterator[httpx.AsyncClient]:
    """Give a client without a token."""
    settings = Settings(_env_file=None, allowed_origins=("https://friend.example",))
    async with (
        serving(create_app(settings, stubs.open)) as url,
        httpx.AsyncClient(base_url=url) as client,
    ):
        yield client


@pytest.fixture
async def client(http: httpx.AsyncClient) -> httpx.AsyncClient:
    """Give a client with a token."""
    http.headers["authorization"] = f"Bearer {token()}"
    return http


def codes(response: httpx.Response) -> list[str]:
    """Return the codes of a GraphQL answer's errors."""
    return [error["extensions"]["code"] for error in response.json()["errors"]]


async def test_viewer(http: httpx.AsyncClient) -> None:
    """A good token names its user."""
    user = uuid4()

    answer = await http.post(
        "/graphql", json=ASK, headers={"authorization": f"bearer {token(user)}"}
    )

    assert answer.status_code == 200
    assert answer.json() == {"data": {"viewer": {"id": str(user)}}}


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "Bearer",
        "Bearer nonsense",
        f"Basic {token()}",
        f"Bearer {token(seconds=-1)}",
        f"Bearer {make_token('another secret, long enough for HS256', uuid4(), 60)}",
    ],
)
async def test_bad_tokens(http: httpx.AsyncClient, authorization: str | None) -> None:
    """Without a good token nothing is answered, introspection included."""
    headers = {} if authorization is None else {"authorization": authorization}

    answer = await http.post("/graphql", json={"query": "{ __typename }"}, headers=headers)

    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert codes(answer) == ["UNAUTHENTICATED"]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"query": "{ viewer {"}, 400, "GRAPHQL_PARSE_FAILED"),
        ({"query": "{ nothing }"}, 400, "GRAPHQL_VALIDATION_FAILED"),
        ({"query": ""}, 400, "BAD_USER_INPUT"),
        ({"query": 1}, 400, "BAD_USER_INPUT"),
        ({}, 400, "BAD_USER_INPUT"),
        ([ASK], 400, "BAD_USER_INPUT"),
        ({**ASK, "variables": [1]}, 400, "BAD_USER_INPUT"),
        ({**ASK, "operationName": 1}, 400, "BAD_USER_INPUT"),
        ({**ASK, "operationName": "Other"}, 400, "GRAPHQL_VALIDATION_FAILED"),
        ({"query": "subscription { sandboxChanged { at } }"}, 400, "BAD_USER_INPUT"),
        (
            {"query": "query ($a: Int!) { sandboxes(first: $a) { totalCount } }"},
            400,
            "BAD_USER_INPUT",
        ),
    ],
)
async def test_bad_requests(
    client: httpx.AsyncClient, body: object, status: int, code: str
) -> None:
    """What can't be run has its status, its code, and no data."""
    answer = await client.post("/graphql", json=body, headers={"accept": RESPONSE})

    assert answer.status_code == status
    assert codes(answer) == [code]
    assert "data" not in answer.json()


async def test_status_for_clients_of_plain_json(client: httpx.AsyncClient) -> None:
    """A client that asks for application/json gets 200 for each well-formed request."""
    answer = await client.post("/graphql", json={"query": "{ nothing }"})

    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("application/json")
    assert "data" not in answer.json()


async def test_queries_by_get(client: httpx.AsyncClient) -> None:
    """Queries may be asked by GET; mutations may not."""
    change = 'mutation { deleteFile(input: {sandboxId: "a", path: "b"}) { deletedPath } }'

    asked = await client.get("/graphql", params=ASK)
    changed = await client.get("/graphql", params={"query": change})

    assert asked.status_code == 200
    assert (changed.status_code, changed.headers["allow"]) == (405, "POST")


async def test_head(client: httpx.AsyncClient) -> None:
    """It is answered as its GET, without the body."""
    asked = await client.get("/graphql", params=ASK)
    head = await client.head("/graphql", params=ASK)
    nothing = await client.head("/graphql")

    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"] == asked.headers["content-type"]
    assert nothing.status_code == 400


@pytest.mark.parametrize("accept", ["text/html", "application/json", "text/event-stream", "a/b"])
async def test_what_the_answer_goes_by_is_told(client: httpx.AsyncClient, accept: str) -> None:
    """One address has a page, answers and streams, which no cache is to take for each other."""
    got = await client.get("/graphql", headers={"accept": accept})
    posted = await client.post("/graphql", json=ASK, headers={"accept": accept})

    assert got.headers["vary"] == posted.headers["vary"] == "Accept"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"content-type": "text/plain"}, 415),
        ({"content-type": "multipart/form-data; boundary=x"}, 415),
        ({"content-type": "application/json; charset=latin-1"}, 415),
        ({"content-type": "application/json", "accept": "text/csv"}, 406),
    ],
)
async def test_types(client: httpx.AsyncClient, headers: dict[str, str], status: int) -> None:
    """Only JSON is taken, and only JSON is given."""
    answer = await client.post("/graphql", content=b'{"query":"{ __typename }"}', headers=headers)

    assert answer.status_code == status
    assert codes(answer) == ["BAD_USER_INPUT"]


@pytest.mark.parametrize(
    ("codings", "taken"),
    [
        ([], True),
        (["identity"], True),
        ([""], True),
        (["gzip"], False),
        (["identity", "br"], False),
    ],
)
async def test_codings(client: httpx.AsyncClient, codings: list[str], taken: bool) -> None:  # noqa: FBT001
    """A compressed body is refused by its headers, with what would be taken."""
    headers = [("content-type", "application/json")]
    headers += [("content-encoding", coding) for coding in codings]
    answer = await client.post("/graphql", content=b'{"query":"{ __typename }"}', headers=headers)
    other = await client.post("/graphql", content=b"{}", headers={"content-type": "text/plain"})

    assert answer.status_code == (200 if taken else 415)
    assert answer.headers.get("accept-encoding") == (None if taken else "identity")
    assert (other.status_code, other.headers.get("accept-encoding")) == (415, None)


async def test_body_over_the_limit(client: httpx.AsyncClient) -> None:
    """A body over 48 MiB is refused by its announced length, before it is sent."""
    head = (
        "POST /graphql HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"Authorization: {client.headers['authorization']}\r\n"
        f"Content-Length: {48 * 2**20 + 1}\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
    async with asyncio.timeout(5):
        writer.write(head.encode())
        answer = await reader.readuntil(b"}]}")
    writer.close()
    await writer.wait_closed()

    assert b" 413 " in answer
    assert b"PAYLOAD_TOO_LARGE" in answer
    assert b'"limitBytes":50331648' in answer


@pytest.mark.parametrize(
    ("depth", "code"), [(1000, "GRAPHQL_PARSE_FAILED"), (100_000, "PAYLOAD_TOO_LARGE")]
)
async def test_deep_documents(client: httpx.AsyncClient, depth: int, code: str) -> None:
    """A document that is nested without end is refused, by its length or unparsed."""
    answer = await client.post("/graphql", json={"query": "{a" * depth})

    assert codes(answer) == [code]


@pytest.mark.parametrize(
    "query",
    [
        "{" + "viewer{id} " * 5000 + "}",
        "{" + " ".join(f"a{n}:viewer{{id}}" for n in range(150)) + "}",
    ],
    ids=["fields", "aliases"],
)
async def test_documents_that_would_take_long_are_refused(
    client: httpx.AsyncClient, query: str
) -> None:
    """Thousands of fields, or very many aliases, are refused before they are validated or run."""
    answer = await client.post("/graphql", json={"query": query})

    assert codes(answer)[0] in {"GRAPHQL_PARSE_FAILED", "GRAPHQL_VALIDATION_FAILED"}


async def test_nan_names_its_field(client: httpx.AsyncClient) -> None:
    """NaN, which JSON has not but clients send, is the caller's fault."""
    query = "mutation ($i: ExecuteCodeInput!) { executeCode(input: $i) { execution { id } } }"
    body = (
        f'{{"query": "{query}", '
        '"variables": {"i": {"sandboxId": "x", "code": "1", "timeoutSeconds": NaN}}}'
    )

    answer = await client.post(
        "/graphql", content=body, headers={"content-type": "application/json"}
    )

    assert answer.json()["errors"][0]["extensions"] == {
        "code": "BAD_USER_INPUT",
        "field": "timeoutSeconds",
    }


async def test_internal_errors_are_masked(client: httpx.AsyncClient, stubs: Stubs) -> None:
    """A fault of ours says nothing but the id under which the log has it."""
    stubs.sandboxes.fault = RuntimeError("secret")
    with capture_logs() as logs:
        answer = await client.post("/graphql", json={"query": '{ sandbox(id: "x") { id } }'})

    told: dict[str, Any] = answer.json()["errors"][0]
    assert "secret" not in answer.text
    assert told["extensions"]["errorId"] in [line.get("error_id") for line in logs]


async def test_request_ids(http: httpx.AsyncClient) -> None:
    """A sane id of the client's is taken over, another one is replaced."""
    sane = await http.get("/health", headers={"x-request-id": "my-request-1"})
    odd = await http.get("/health", headers={"x-request-id": "a b\tc;" * 30})

    assert sane.headers["x-request-id"] == "my-request-1"
    assert len(odd.headers["x-request-id"]) == 32


async def test_origins(http: httpx.AsyncClient) -> None:
    """An allowed page may read answers; another may not."""
    ask = {"access-control-request-method": "POST"}
    friend, other = {"origin": "https://friend.example"}, {"origin": "https://other.example"}

    assert (await http.options("/graphql", headers={**friend, **ask})).status_code == 204
    assert (await http.options("/graphql", headers={**other, **ask})).status_code == 403
    read = await http.get("/health", headers=friend)
    assert read.headers["access-control-allow-origin"] == "https://friend.example"
    unread = await http.get("/health", headers=other)
    assert "access-control-allow-origin" not in unread.headers


async def test_health_and_readiness(http: httpx.AsyncClient, stubs: Stubs) -> None:
    """/health says that the process is up, /ready what is missing."""
    assert (await http.get("/health")).json() == {"status": "ok"}
    assert (await http.get("/")).headers["location"] == "/graphql"
    assert (await http.get("/ready")).status_code == 200
    stubs.missing.append("docker: it does not answer")
    answer = await http.get("/ready")

    assert answer.status_code == 503
    assert answer.json()["missing"] == ["docker: it does not answer"]


async def test_page_for_browsers(http: httpx.AsyncClient) -> None:
    """A browser gets a page that may load nothing from elsewhere."""
    page = await http.get("/graphql", headers={"accept": "text/html,*/*;q=0.8"})

    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "http://" not in page.text
    assert "https://" not in page.text


async def test_a_schema_that_is_not_told(stubs: Stubs) -> None:
    """As in production: no introspection, and no names in errors, by HTTP or in a stream."""
    settings = Settings(_env_file=None, introspection=False)
    headers = {"authorization": f"Bearer {token()}"}
    queries = ("{ __schema { types { name } } }", "{ viewr { id } }", "{ __typename }")
    async with (
        serving(create_app(settings, stubs.open)) as url,
        httpx.AsyncClient(base_url=url, headers=headers) as client,
    ):
        hidden, guessed, named = [
            await client.post("/graphql", json={"query": query}) for query in queries
        ]
        streamed = await client.post(
            "/graphql", json={"query": queries[1]}, headers={"accept": "text/event-stream"}
        )

    assert set(codes(hidden)) == set(codes(guessed)) == {"GRAPHQL_VALIDATION_FAILED"}
    assert "viewer" not in guessed.text
    assert "viewr" in streamed.text
    assert "viewer" not in streamed.text
    assert named.json() == {"data": {"__typename": "Query"}}


async def test_nodes_over_the_limit(client: httpx.AsyncClient) -> None:
    """Nothing is executed, and the error says how many were asked for and are allowed."""
    query = """query ($n: Int!) { sandboxes(first: $n) { nodes {
        executions(first: $n) { nodes { id } } } } }"""
    asked = {"query": query, "variables": {"n": 100}}
    answer = await client.post("/graphql", json=asked, headers={"accept": RESPONSE})

    assert answer.status_code == 400
    assert "data" not in answer.json()
    assert answer.json()["errors"][0]["extensions"] == {
        "code": "BAD_USER_INPUT",
        "field": "first",
        "nodes": 10_100,
        "limitNodes": 10_000,
    }


async def test_no_page_where_it_is_off(stubs: Stubs) -> None:
    """Without GraphiQL a browser is a client like any other."""
    settings = Settings(_env_file=None, graphiql=False)
    async with (
        serving(create_app(settings, stubs.open)) as url,
        httpx.AsyncClient(base_url=url) as client,
    ):
        answer = await client.get("/graphql", headers={"accept": "text/html"})

    assert answer.status_code == 406
