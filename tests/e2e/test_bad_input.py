"""Bad input: each case has its code, names its field, and changes nothing."""

from uuid import uuid4

import pytest

from tests.support.api import Api, GraphQLError, Json
from tests.support.serving import socket
from tests.support.stack import Server

MIB = 1024 * 1024
EXECUTE = "mutation($input: ExecuteCodeInput!) { executeCode(input: $input) { execution { id } } }"
CODE = """subscription($id: ID!, $code: String!) {
    executeCode(input: {sandboxId: $id, code: $code}) { seq } }"""
SANDBOXES = "query($f: Int!, $a: String) { sandboxes(first: $f, after: $a) { nodes { id } } }"
EXECUTIONS = """query($f: Int!, $a: String, $id: ID!) {
    sandbox(id: $id) { executions(first: $f, after: $a) { nodes { id } } } }"""
NONE = {"id": "0", "short": "abc", "braces": "{" + str(uuid4()) + "}", "urn": f"urn:uuid:{uuid4()}"}


async def refusal(api: Api, field: str, fields: str, **values: object) -> GraphQLError:
    """Return the error of a mutation that must fail."""
    with pytest.raises(GraphQLError) as refused:
        await api.mutate(field, fields, **values)
    return refused.value


def said(error: GraphQLError) -> tuple[str, object]:
    """Return the code, and the field that it names."""
    return error.code, error.extensions.get("field")


@pytest.mark.parametrize("text", NONE.values(), ids=NONE)
async def test_an_id_that_is_no_uuid(api: Api, text: str) -> None:
    """BAD_USER_INPUT with the argument's name, from every kind of operation."""
    errors = []
    for document, variables in (
        ("query($id: ID!) { sandbox(id: $id) { id } }", {"id": text}),
        ("query($id: ID!) { execution(id: $id) { id } }", {"id": text}),
        ("query($id: ID!) { node(id: $id) { id } }", {"id": text}),
    ):
        with pytest.raises(GraphQLError) as refused:
            await api.query(document, **variables)
        errors.append(said(refused.value))
    with pytest.raises(GraphQLError) as followed:
        await api.follow(text)
    with pytest.raises(GraphQLError) as run:
        await api.run(text, "1")
    stopped = await refusal(api, "stopSandbox", "sandbox { id }", sandboxId=text)
    asked = await refusal(api, "interruptExecution", "execution { id }", executionId=text)

    assert errors == [("BAD_USER_INPUT", "id")] * 3
    assert said(followed.value) == said(asked) == ("BAD_USER_INPUT", "executionId")
    assert said(run.value) == said(stopped) == ("BAD_USER_INPUT", "sandboxId")


async def test_a_sandbox_that_does_not_run(api: Api) -> None:
    """Execute, install, files, restart and uploads are CONFLICT with the status."""
    sandbox = await api.create(start=False)
    errors = [
        await refusal(api, "executeCode", "execution { id }", sandboxId=sandbox, code="1"),
        await refusal(
            api, "installPackages", "execution { id }", sandboxId=sandbox, packages=["six"]
        ),
        await refusal(api, "uploadFile", "file { path }", sandboxId=sandbox, path="x", content=""),
        await refusal(api, "createUploadUrl", "url", sandboxId=sandbox, path="x"),
        await refusal(api, "deleteFile", "deletedPath", sandboxId=sandbox, path="x"),
        await refusal(api, "restartSandbox", "sandbox { id }", sandboxId=sandbox),
    ]
    for attempt in (api.run(sandbox, "1"), api.install(sandbox, "six")):
        with pytest.raises(GraphQLError) as refused:
            await attempt
        errors.append(refused.value)
    document = """query($id: ID!) { sandbox(id: $id) { status files { name }
        file(path: "x") { path } packages { name } stats { sessionId } } }"""
    answer = await api.answer(document, id=sandbox)
    await api.delete(sandbox)

    assert [(e.code, e.extensions.get("status")) for e in errors] == [("CONFLICT", "STOPPED")] * 8
    assert answer["data"]["sandbox"] == {
        "status": "STOPPED",
        "files": None,
        "file": None,
        "packages": [],
        "stats": None,
    }
    assert {tuple(e["path"]): e["extensions"] for e in answer["errors"]} == {
        ("sandbox", "files"): {"code": "CONFLICT", "status": "STOPPED"},
        ("sandbox", "file"): {"code": "CONFLICT", "status": "STOPPED"},
    }


@pytest.mark.parametrize(
    "literal", ["0", "-1", "NaN", "Infinity", "-Infinity", "301", "1e300", '"5"']
)
async def test_odd_time_limits(api: Api, sandbox: str, literal: str) -> None:
    """`timeoutSeconds` is more than 0 and at most the sandbox's limit."""
    values = f'{{"sandboxId": "{sandbox}", "code": "1", "timeoutSeconds": {literal}}}'
    body = f'{{"query": "{EXECUTE}", "variables": {{"input": {values}}}}}'
    headers = {"Content-Type": "application/json"}
    answer = await api.http.post("/graphql", content=body, headers=headers)
    [error] = answer.json()["errors"]

    assert error["extensions"]["code"] == "BAD_USER_INPUT"
    assert error["extensions"]["field"] == "timeoutSeconds"


async def test_code_over_a_mebibyte(api: Api, sandbox: str) -> None:
    """PAYLOAD_TOO_LARGE, counted in bytes."""
    error = await refusal(
        api, "executeCode", "execution { id }", sandboxId=sandbox, code="#" + "é" * (MIB // 2)
    )
    with pytest.raises(GraphQLError) as live:
        await api.run(sandbox, "#" + "x" * MIB)

    assert said(error) == said(live.value) == ("PAYLOAD_TOO_LARGE", "code")


async def test_half_a_surrogate_pair(api: Api, sandbox: str, server: Server) -> None:
    """In code it is U+FFFD; elsewhere it is refused by its field."""
    half = "'\ud800'"
    run = await api.run(sandbox, half)
    async with socket(server.url, params={"Authorization": f"Bearer {api.token}"}) as client:
        await client.receive()
        await client.subscribe(CODE, {"id": sandbox, "code": half}, name="half")
        last = (await client.until_end("half"))[-1]
    for document, field in (
        ("query($t: String!) { sandboxes(after: $t) { totalCount nodes { id } } }", "after"),
        ("query($t: ID!) { sandbox(id: $t) { id } }", "id"),
        ("query($t: JSON) { sandboxes(filter: {metadata: $t}) { totalCount } }", "metadata"),
    ):
        with pytest.raises(GraphQLError) as off:
            await api.query(document, t={"k": half} if field == "metadata" else half)
        assert said(off.value) == ("BAD_USER_INPUT", field)

    assert (run.result, run.finished["execution"]["code"]) == ("'\ufffd'", "'\ufffd'")
    assert last["type"] == "complete"
    assert (await api.answer(f"{{ {half} }}"))["errors"][0]["extensions"]["code"] == (
        "GRAPHQL_PARSE_FAILED"
    )


CREATE: list[tuple[Json, str]] = [
    ({"name": "\ud800"}, "name"),
    ({"name": "x" * 201}, "name"),
    ({"name": "a\0b"}, "name"),
    ({"metadata": {"a": 1}}, "metadata"),
    ({"metadata": ["a"]}, "metadata"),
    ({"metadata": "a"}, "metadata"),
    ({"metadata": {"": "x"}}, "metadata"),
    ({"metadata": {"k" * 129: "x"}}, "metadata"),
    ({"metadata": {"k": "v" * 2049}}, "metadata"),
    ({"metadata": {"k": "\0"}}, "metadata"),
    ({"metadata": {str(n): "" for n in range(65)}}, "metadata"),
    ({"image": "python:3.12"}, "image"),
    ({"image": "/etc/passwd"}, "image"),
    ({"image": ""}, "image"),
    ({"environment": [{"name": "", "value": "x"}]}, "environment"),
    ({"environment": [{"name": "A=B", "value": "x"}]}, "environment"),
    ({"environment": [{"name": "1A", "value": "x"}]}, "environment"),
    ({"environment": [{"name": "A", "value": "\0"}]}, "environment"),
    ({"environment": [{"name": "A", "value": "x"}] * 2}, "environment"),
    ({"environment": [{"name": "LD_PRELOAD", "value": "x"}]}, "environment"),
    ({"environment": [{"name": "PATH", "value": "x"}]}, "environment"),
    ({"environment": [{"name": f"A{n}", "value": "x"} for n in range(101)]}, "environment"),
    ({"environment": [{"name": "A", "value": "x" * 32_769}]}, "environment"),
    ({"environment": [{"name": "A"}]}, "value"),
    ({"idleTimeoutSeconds": 0}, "idleTimeoutSeconds"),
    ({"idleTimeoutSeconds": -1}, "idleTimeoutSeconds"),
    ({"idleTimeoutSeconds": 1e12}, "idleTimeoutSeconds"),
    ({"lifetimeSeconds": 0}, "lifetimeSeconds"),
    ({"lifetimeSeconds": 1e12}, "lifetimeSeconds"),
    ({"lifetimeSeconds": "long"}, "lifetimeSeconds"),
    ({"idempotencyKey": ""}, "idempotencyKey"),
    ({"idempotencyKey": "k" * 201}, "idempotencyKey"),
    ({"start": "yes"}, "start"),
    ({"nonsense": 1}, "nonsense"),
]


@pytest.mark.parametrize(("values", "field"), CREATE, ids=lambda value: str(value)[:40])
async def test_odd_sandboxes_are_not_made(api: Api, values: Json, field: str) -> None:
    """`createSandbox` names the field that is off, and makes nothing."""
    count = "{ viewer { usage { sandboxes } } }"
    before = await api.query(count)
    error = await refusal(api, "createSandbox", "sandbox { id }", **values)

    assert said(error) == ("BAD_USER_INPUT", field)
    assert await api.query(count) == before


@pytest.mark.parametrize(
    ("values", "field"),
    [pair for pair in CREATE if set(pair[0]) <= {"name", "metadata", "idleTimeoutSeconds"}],
    ids=lambda value: str(value)[:40],
)
async def test_odd_updates_change_nothing(api: Api, sandbox: str, values: Json, field: str) -> None:
    """`updateSandbox` checks as `createSandbox` does."""
    before = await api.sandbox(sandbox, "name metadata updatedAt")
    error = await refusal(api, "updateSandbox", "sandbox { id }", sandboxId=sandbox, **values)

    assert said(error) == ("BAD_USER_INPUT", field)
    assert (await api.sandbox(sandbox, "name metadata"))["name"] == before["name"]


async def test_odd_environments_of_one_execution(api: Api, sandbox: str) -> None:
    """`executeCode` takes variables by the sandbox's rules."""
    environment = [{"name": "LD_PRELOAD", "value": "x"}]
    error = await refusal(
        api, "executeCode", "execution { id }", sandboxId=sandbox, code="1", environment=environment
    )

    assert said(error) == ("BAD_USER_INPUT", "environment")


@pytest.mark.parametrize("key", ["", "k" * 201, "a\0b"], ids=["empty", "long", "nul"])
async def test_odd_client_ids(api: Api, sandbox: str, key: str) -> None:
    """`clientExecutionId` has 1 to 200 characters."""
    with pytest.raises(GraphQLError) as refused:
        await api.run(sandbox, "1", clientExecutionId=key)

    assert said(refused.value) == ("BAD_USER_INPUT", "clientExecutionId")


@pytest.mark.parametrize("after", [-1, -(2**31)])
async def test_odd_places_in_events(api: Api, sandbox: str, after: int) -> None:
    """`after` is 0 or more, wherever events are read."""
    run = await api.run(sandbox, "1")
    with pytest.raises(GraphQLError) as followed:
        await api.follow(run.id, after)
    with pytest.raises(GraphQLError) as attached:
        await api.run(sandbox, "1", clientExecutionId=uuid4().hex, after=after)

    assert said(followed.value) == said(attached.value) == ("BAD_USER_INPUT", "after")


async def test_places_beyond_the_end_of_events(api: Api, sandbox: str) -> None:
    """Following from behind the last event of what has ended ends at once."""
    run = await api.run(sandbox, "1")

    assert (await api.follow(run.id, 2**31 - 1)).events == []


@pytest.mark.parametrize("first", [0, -1, 101])
async def test_odd_page_lengths(api: Api, sandbox: str, first: int) -> None:
    """`first` is 1 to 100 in both connections."""
    for document, variables in ((SANDBOXES, {}), (EXECUTIONS, {"id": sandbox})):
        with pytest.raises(GraphQLError) as refused:
            await api.query(document, f=first, **variables)
        assert said(refused.value) == ("BAD_USER_INPUT", "first")


@pytest.mark.parametrize("cursor", ["", "x", "é", "djE6MTo=", "A" * 10_000])
async def test_odd_cursors(api: Api, sandbox: str, cursor: str) -> None:
    """`after` is a cursor as it was given."""
    for document, variables in ((SANDBOXES, {}), (EXECUTIONS, {"id": sandbox})):
        with pytest.raises(GraphQLError) as refused:
            await api.query(document, f=1, a=cursor, **variables)
        assert said(refused.value) == ("BAD_USER_INPUT", "after")


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        ({"metadata": {"a": 1}}, "metadata"),
        ({"metadata": "a"}, "metadata"),
        ({"nameContains": "x" * 201}, "nameContains"),
        ({"nameContains": "\0"}, "nameContains"),
        ({"status": ["BUSY"]}, "status"),
    ],
)
async def test_odd_filters(api: Api, wanted: Json, field: str) -> None:
    """A filter that the database could not compare is refused by name."""
    document = "query($f: SandboxFilter) { sandboxes(filter: $f) { totalCount nodes { id } } }"
    with pytest.raises(GraphQLError) as refused:
        await api.query(document, f=wanted)

    assert said(refused.value) == ("BAD_USER_INPUT", field)


@pytest.mark.parametrize("content", ["x", "eA=", "eA", "e A==", "_w==", "eA==\n", 7])
async def test_odd_base64(api: Api, sandbox: str, content: object) -> None:
    """`content` is standard base64 with padding, or nothing is written."""
    error = await refusal(
        api, "uploadFile", "file { path }", sandboxId=sandbox, path="odd64", content=content
    )

    assert said(error) == ("BAD_USER_INPUT", "content")
    assert await api.download(sandbox, "odd64") is None


async def test_input_over_a_mebibyte(api: Api, sandbox: str) -> None:
    """An answer to `input()` is PAYLOAD_TOO_LARGE over 1 MiB; the code waits on."""
    async with api.live(sandbox, "len(input())") as live:
        asked = await live.until("InputRequested")
        values = {"executionId": asked["executionId"], "inputSeq": asked["seq"]}
        error = await refusal(
            api, "provideInput", "execution { id }", text="x" * (MIB + 1), **values
        )
        await api.mutate("provideInput", "execution { id }", text="four", **values)
        run = await live.end()

    assert said(error) == ("PAYLOAD_TOO_LARGE", "text")
    assert run.result == "4"


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("{", "GRAPHQL_PARSE_FAILED"),
        ("{ viewer { password } }", "GRAPHQL_VALIDATION_FAILED"),
        ("{ sandbox { id } }", "GRAPHQL_VALIDATION_FAILED"),
        ("query A { __typename } query B { __typename }", "GRAPHQL_VALIDATION_FAILED"),
        ("query($id: ID!) { sandbox(id: $id) { id } }", "BAD_USER_INPUT"),
        ("subscription { sandboxChanged { at } }", "BAD_USER_INPUT"),
    ],
)
async def test_documents_that_can_not_be_run(api: Api, query: str, code: str) -> None:
    """Each has its own code over HTTP."""
    answer = await api.answer(query)

    assert [error["extensions"]["code"] for error in answer["errors"]] == [code]
