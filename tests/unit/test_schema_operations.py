"""Operations of the schema, on services that answer from memory."""

from typing import Any

import pytest
from strawberry.types import ExecutionResult

from resolvers.context import Context
from schema.build import build_schema
from services.entities import Execution, ExecutionId, Unset
from services.executor import messages
from tests.support.stub_services import Stubs, execution, sandbox, viewer

SCHEMA = build_schema()


async def run(stubs: Stubs, query: str, **variables: Any) -> ExecutionResult:  # noqa: ANN401
    """Run one operation as a user."""
    context = Context(stubs.services(), "request", viewer())
    return await SCHEMA.execute(query, variable_values=variables, context_value=context)


def data(result: ExecutionResult) -> dict[str, Any]:
    """Return the data of a result without errors."""
    assert result.errors is None
    assert result.data is not None
    return result.data


def code(result: ExecutionResult) -> dict[str, Any]:
    """Return the extensions of the only error."""
    assert result.errors is not None
    assert len(result.errors) == 1
    return result.errors[0].extensions or {}


async def test_count_is_fetched_only_where_asked_for() -> None:
    """A page costs no count, and a count no page."""
    stubs = Stubs()
    stubs.sandboxes.known = [sandbox(), sandbox()]

    await run(stubs, "{ sandboxes { nodes { id } edges { cursor } pageInfo { endCursor } } }")
    assert stubs.sandboxes.calls == ["page"]
    stubs.sandboxes.calls.clear()
    counted = await run(stubs, "{ sandboxes { totalCount } }")
    assert stubs.sandboxes.calls == ["count"]
    assert data(counted) == {"sandboxes": {"totalCount": 2}}


async def test_connection_of_sandboxes() -> None:
    """Edges, nodes and pageInfo tell of the same page."""
    stubs = Stubs()
    stubs.sandboxes.known = [sandbox(name="a"), sandbox(name="b")]
    query = """{ sandboxes(first: 1) {
        edges { cursor node { name } } nodes { name }
        pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }"""

    result = await run(stubs, query)

    assert data(result)["sandboxes"] == {
        "edges": [{"cursor": "c0", "node": {"name": "a"}}],
        "nodes": [{"name": "a"}],
        "pageInfo": {
            "hasNextPage": True,
            "hasPreviousPage": False,
            "startCursor": "c0",
            "endCursor": "c0",
        },
    }


async def test_large_sizes_and_times() -> None:
    """Sizes beyond 32 bit are Floats, times have their offset."""
    stubs = Stubs()
    box = sandbox()
    stubs.sandboxes.known = [box]
    query = "query ($id: ID!) { sandbox(id: $id) { limits { diskBytes } createdAt } }"

    result = await run(stubs, query, id=str(box.id))

    assert data(result)["sandbox"] == {
        "limits": {"diskBytes": 2.0**40},
        "createdAt": "2026-01-02T03:04:05.000678+00:00",
    }


@pytest.mark.parametrize("kind", ["Sandbox", "Execution"])
async def test_node_is_of_its_type(kind: str) -> None:
    """`node` finds both kinds and says which it is."""
    stubs = Stubs()
    stubs.sandboxes.known = [sandbox()]
    wanted = stubs.sandboxes.known[0].id if kind == "Sandbox" else stubs.executions.record.id

    result = await run(
        stubs, "query ($id: ID!) { node(id: $id) { __typename id } }", id=str(wanted)
    )

    assert data(result)["node"] == {"__typename": kind, "id": str(wanted)}


async def test_sandboxes_of_executions_are_loaded_at_once() -> None:
    """Several fields that need sandboxes make one call."""
    stubs = Stubs()
    box = sandbox()
    stubs.sandboxes.known = [box]
    stubs.executions.record = execution(sandbox_id=box.id)
    query = """query ($id: ID!) {
        a: execution(id: $id) { sandbox { id } } b: execution(id: $id) { sandbox { id } } }"""

    result = await run(stubs, query, id=str(stubs.executions.record.id))

    assert data(result)["a"] == data(result)["b"] == {"sandbox": {"id": str(box.id)}}
    assert stubs.sandboxes.calls == ["get_many"]


async def test_fields_left_out_and_null_differ() -> None:
    """An update tells a field left out from one set to null."""
    stubs = Stubs()
    query = 'mutation { updateSandbox(input: {sandboxId: "x", name: null}) { sandbox { id } } }'

    data(await run(stubs, query))

    assert stubs.sandboxes.changed is not None
    assert stubs.sandboxes.changed.name is None
    assert isinstance(stubs.sandboxes.changed.metadata, Unset)


async def test_create_passes_all_on() -> None:
    """Every field of the input reaches the service."""
    stubs = Stubs()
    given = {
        "name": "n",
        "metadata": {"a": "b"},
        "image": "i",
        "environment": [{"name": "K", "value": "V"}],
        "idleTimeoutSeconds": 5,
        "lifetimeSeconds": 6.5,
        "start": True,
        "idempotencyKey": "k",
    }
    query = (
        "mutation ($input: CreateSandboxInput!) { createSandbox(input: $input) { sandbox { id } } }"
    )

    data(await run(stubs, query, input=given))

    created = stubs.sandboxes.created
    assert created is not None
    assert (created.name, created.metadata, created.image) == ("n", {"a": "b"}, "i")
    assert created.environment == (("K", "V"),)
    assert (created.idle_timeout_seconds, created.lifetime_seconds) == (5.0, 6.5)
    assert (created.start, created.idempotency_key) == (True, "k")


async def test_filter_with_odd_metadata_is_refused() -> None:
    """A filter's metadata is an object of strings."""
    result = await run(Stubs(), "{ sandboxes(filter: {metadata: {a: 1}}) { totalCount } }")

    assert code(result) == {"code": "BAD_USER_INPUT", "field": "metadata"}


SHOWN = """query ($id: ID!) { execution(id: $id) { results {
    isResult text png json svg formats bundle } } }"""


async def shown(bundle: dict[str, messages.JSON]) -> dict[str, Any]:
    """Return a mime bundle as the schema shows it."""
    stubs = Stubs()
    stubs.executions.record = shown_by(bundle)
    result = await run(stubs, SHOWN, id=str(stubs.executions.record.id))
    first: dict[str, Any] = data(result)["execution"]["results"][0]
    return first


def shown_by(bundle: dict[str, messages.JSON]) -> Execution:
    """Make an execution that showed this."""
    return execution(results=(messages.DisplayData(bundle, is_result=False),))


async def test_display_data() -> None:
    """Mime types have their fields; base64 with line ends is read too."""
    bundle: dict[str, messages.JSON] = {
        "image/png": "iVBO\nRw==\n",
        "text/plain": "<Figure>",
        "application/json": {"a": [1, None]},
    }

    assert await shown(bundle) == {
        "isResult": False,
        "text": "<Figure>",
        "png": "iVBORw==",
        "json": {"a": [1, None]},
        "svg": None,
        "formats": ["text/plain", "application/json", "image/png"],
        "bundle": bundle,
    }


async def test_odd_display_data() -> None:
    """What is no base64 and no text is null in its field, and stays in the bundle."""
    bundle: dict[str, messages.JSON] = {"image/png": "a", "image/svg+xml": 7}

    seen = await shown(bundle)

    assert (seen["png"], seen["svg"], seen["bundle"]) == (None, None, bundle)


async def test_unknown_nodes_are_null() -> None:
    """What there isn't is null, not an error."""
    result = await run(Stubs(), '{ node(id: "x") { id } sandbox(id: "x") { id } }')

    assert data(result) == {"node": None, "sandbox": None}


async def test_base64_is_strict() -> None:
    """The URL alphabet and missing padding are refused before anything is written."""
    query = """mutation ($c: Base64!) {
        uploadFile(input: {sandboxId: "x", path: "p", content: $c}) { file { path } } }"""

    for bad in ("_-==", "YQ", "YQ==\n", "Y Q=="):
        assert code(await run(Stubs(), query, c=bad)) == {"code": "BAD_USER_INPUT", "field": "c"}


async def test_every_execution_kind_and_status_has_a_value() -> None:
    """All that the record may hold can be shown."""
    for status in messages.ExecutionStatus:
        stubs = Stubs()
        record = execution(status=status, kind=messages.ExecutionKind.INSTALL)
        stubs.executions.record = record
        query = "query ($id: ID!) { execution(id: $id) { status kind } }"

        result = await run(stubs, query, id=str(ExecutionId(record.id)))

        assert data(result)["execution"] == {"status": status.value, "kind": "INSTALL"}
