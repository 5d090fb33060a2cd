"""How much of code, output and results one operation reads, by whatever way it asks."""

from collections.abc import Sequence
from typing import Any

import pytest

from tests.support.api import Api, GraphQLError

MIB = 1024 * 1024
SHOW = f"from IPython.display import HTML, display\ndisplay(HTML('x' * {7 * MIB}))"
ALL = "stdout results { bundle }"
FITS = 4
"""Executions of 7 MiB in 32 MiB."""
KEY = "large"


@pytest.fixture(scope="module")
async def large(api: Api, sandbox: str) -> str:
    """Return an execution with 7 MiB of results, which has the client's id `KEY`."""
    run = await api.run(sandbox, SHOW, clientExecutionId=KEY)
    assert run.status == "SUCCEEDED"
    return run.id


def aliases(number: int, field: str, fields: str, kind: str = "query") -> str:
    """Write an operation that asks for one field under so many aliases."""
    asked = " ".join(f"a{each}: {field} {{ {fields} }}" for each in range(number))
    return f"{kind} {{ {asked} }}"


def read_and_refused(answer: dict[str, Any]) -> tuple[int, int]:
    """Count the aliases that were answered, and those that were refused for their size."""
    errors: Sequence[dict[str, Any]] = answer["errors"]
    assert {each["extensions"]["code"] for each in errors} == {"PAYLOAD_TOO_LARGE"}
    assert {each["extensions"]["limitBytes"] for each in errors} == {32 * MIB}
    return sum(each is not None for each in answer["data"].values()), len(errors)


async def test_many_aliases_of_one_execution(api: Api, large: str) -> None:
    """A hundred get as many as fit into the operation's budget; the others say why."""
    answer = await api.answer(aliases(100, f'execution(id: "{large}")', ALL))

    assert read_and_refused(answer) == (FITS, 100 - FITS)
    assert answer["errors"][0]["extensions"]["field"] == "id"


async def test_many_aliases_of_one_node(api: Api, large: str) -> None:
    """`node` is no way around it, with `execution` and pages in the same operation."""
    found = aliases(50, f'node(id: "{large}")', f"... on Execution {{ {ALL} }}")
    mixed = found.replace("query {", f'query {{ b: execution(id: "{large}") {{ {ALL} }}')
    answer = await api.answer(mixed)

    assert read_and_refused(answer) == (FITS, 51 - FITS)


async def test_what_is_not_large_is_no_matter(api: Api, large: str) -> None:
    """A hundred that ask for nothing large are all answered."""
    by_id = await api.query(aliases(100, f'execution(id: "{large}")', "status lastSeq"))
    by_node = await api.query(aliases(100, f'node(id: "{large}")', "id __typename"))

    assert {each["status"] for each in by_id.values()} == {"SUCCEEDED"}
    assert {each["id"] for each in by_node.values()} == {large}


async def test_aliases_below_an_execution(api: Api, large: str) -> None:
    """An execution is as large as it is shown often, by any of its large fields."""
    shown = " ".join(f"r{each}: results {{ bundle }}" for each in range(FITS + 1))
    below = " ".join(f"b{each}: bundle" for each in range(FITS + 1))
    for fields in (shown, f"results {{ {below} }}"):
        with pytest.raises(GraphQLError) as caught:
            await api.query(aliases(1, f'execution(id: "{large}")', fields))

        assert caught.value.code == "PAYLOAD_TOO_LARGE"


async def test_many_aliases_of_a_mutation(api: Api, sandbox: str, large: str) -> None:
    """What a mutation answers counts too; the error names the execution, which has run."""
    given = f'input: {{sandboxId: "{sandbox}", code: "", clientExecutionId: "{KEY}"}}'
    document = aliases(FITS + 1, f"executeCode({given})", f"execution {{ {ALL} }}", "mutation")
    with pytest.raises(GraphQLError) as caught:
        await api.query(document)
    small = await api.query(document.replace(ALL, "status"))

    assert caught.value.code == "PAYLOAD_TOO_LARGE"
    assert caught.value.extensions["executionId"] == large
    assert len(small) == FITS + 1


async def test_many_aliases_of_what_still_runs(api: Api, sandbox: str) -> None:
    """What a session has and no record yet is measured as it comes."""
    async with api.live(sandbox, f"{SHOW}\ninput()") as live:
        asked = await live.until("InputRequested")
        name = asked["executionId"]
        answer = await api.answer(aliases(20, f'execution(id: "{name}")', ALL))
        values = {"executionId": name, "inputSeq": asked["seq"], "text": "go"}
        await api.mutate("provideInput", "execution { id }", **values)
        await live.end()

    assert read_and_refused(answer) == (FITS, 20 - FITS)
