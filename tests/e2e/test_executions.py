"""Running code: live, with state, attached to, interrupted, asked, and read afterwards."""

import asyncio
from uuid import uuid4

import pytest

from tests.support.api import FOLLOW, Api, GraphQLError, Json, Run

WAIT = "import os, time\nwhile not os.path.exists({path!r}):\n    time.sleep(0.01)\n"
RECORD = "id status exitCode stdout stderr lastSeq executionCount durationMs code kind"


def numbers(run: Run) -> list[int]:
    """Return the events' numbers."""
    return [event["seq"] for event in run.events]


async def test_chunks_arrive_while_the_code_runs(api: Api, sandbox: str) -> None:
    """Output is there before the end: the code waits for what the reader does upon seeing it."""
    go = f"go-{uuid4().hex}"
    code = f"print('first', flush=True)\n{WAIT.format(path=go)}print('second')\n6 * 7"
    async with api.live(sandbox, code) as live:
        await live.until("OutputChunk", "first")
        await api.upload(sandbox, go)
        run = await live.end()

    assert run.stdout == "first\nsecond\n"
    assert run.result == "42"
    assert run.status == "SUCCEEDED"
    assert run.finished["exitCode"] == 0
    assert numbers(run) == list(range(1, len(run.events) + 1))
    kinds = [event["__typename"] for event in run.events]
    assert kinds[0] == "ExecutionStarted" or kinds[:2] == ["ExecutionQueued", "ExecutionStarted"]
    assert kinds[-1] == "ExecutionFinished"


async def test_state_of_all_kinds_stays_between_runs(api: Api, sandbox: str) -> None:
    """Variables, functions, classes, imports and open files are there in the next run."""
    await api.run(
        sandbox,
        "import math as m\nx = 20\ndef double(n):\n    return n * 2\n"
        "class Kept:\n    value = 2\nfile = open('kept.txt', 'w+')\nfile.write('held')",
    )
    run = await api.run(
        sandbox, "file.seek(0)\nprint(double(x) + Kept.value, m.floor(2.5), file.read())"
    )

    assert run.stdout == "42 2 held\n"


@pytest.mark.parametrize(
    "text",
    ["'''", '"""', "\\", "\\n", "\r\n\t", "é ü 漢字 🎉 \u2028", "'\"" * 40],
    ids=["single", "double", "backslash", "escape", "space", "unicode", "quotes"],
)
async def test_code_of_any_characters_runs_unharmed(api: Api, sandbox: str, text: str) -> None:
    """What a literal holds is what is printed, whatever it is."""
    run = await api.run(sandbox, f"print({text!r}, end='')")

    assert run.stdout == text


async def test_a_megabyte_of_code_runs(api: Api, sandbox: str) -> None:
    """Code of exactly the limit is code like any other."""
    head = "print(len(s))\n"
    filling = 1024 * 1024 - len(head) - len("s = ''\n")
    run = await api.run(sandbox, f"s = '{'x' * filling}'\n{head}")

    assert run.stdout == f"{filling}\n"


async def test_an_exception_is_an_error_with_its_traceback(api: Api, sandbox: str) -> None:
    """What the code raises ends it as FAILED, with name, value, traceback and standard error."""
    run = await api.run(
        sandbox, "import sys\nprint('note', file=sys.stderr)\nraise ValueError('too much')"
    )

    assert run.status == "FAILED"
    assert run.finished["exitCode"] != 0
    assert (run.error["name"], run.error["value"]) == ("ValueError", "too much")
    assert "raise ValueError('too much')" in run.error["traceback"]
    assert "\x1b" not in run.error["traceback"]
    assert run.text("STDERR") == "note\n"
    assert run.finished["execution"]["error"] == run.error


@pytest.mark.parametrize(("code", "status"), [(0, "SUCCEEDED"), (3, "FAILED")])
async def test_exit_is_an_exit_code(api: Api, sandbox: str, code: int, status: str) -> None:
    """`sys.exit(n)` ends the run with n; the interpreter stays."""
    await api.run(sandbox, "stays = 'here'")
    run = await api.run(sandbox, f"import sys\nsys.exit({code})")

    assert (run.status, run.finished["exitCode"]) == (status, code)
    assert (await api.run(sandbox, "stays")).result == "'here'"


async def test_a_time_out_really_ends_the_code(api: Api, sandbox: str) -> None:
    """Code over its limit is TIMED_OUT within 3 s of it; its output stays; the next run works."""
    run = await api.run(
        sandbox, "print('until then', flush=True)\nwhile True: pass", timeoutSeconds=1
    )
    again = await api.run(sandbox, "print('next')")

    assert run.status == "TIMED_OUT"
    assert run.stdout == "until then\n"
    assert run.finished["durationMs"] < 4000
    assert again.stdout == "next\n"


async def test_environment_is_of_one_execution(api: Api, sandbox: str) -> None:
    """A variable given with an execution is set for that one alone."""
    code = "import os\nprint(os.environ.get('ONE_RUN'))"
    run = await api.run(sandbox, code, environment=[{"name": "ONE_RUN", "value": "yes"}])
    after = await api.run(sandbox, code)

    assert (run.stdout, after.stdout) == ("yes\n", "None\n")


async def test_the_mutation_waits_for_the_end(api: Api, sandbox: str) -> None:
    """`Mutation.executeCode` answers the complete record, equal to what the query answers."""
    payload = await api.mutate(
        "executeCode",
        f"execution {{ {RECORD} results {{ text isResult }} sandbox {{ id }} }}",
        sandboxId=sandbox,
        code="print('said')\n'shown'",
    )
    execution = payload["execution"]
    query = f"query($id: ID!) {{ execution(id: $id) {{ {RECORD} }} }}"
    again = (await api.query(query, id=execution["id"]))["execution"]

    assert execution["status"] == "SUCCEEDED"
    assert execution["stdout"] == "said\n"
    assert execution["results"] == [{"text": "'shown'", "isResult": True}]
    assert execution["sandbox"] == {"id": sandbox}
    assert again == {key: execution[key] for key in again}


async def test_the_last_event_has_the_record_that_the_query_answers(api: Api, sandbox: str) -> None:
    """Once ExecutionFinished is delivered, `execution(id)` is complete."""
    run = await api.run(sandbox, "print('all')\nraise KeyError('k')")
    query = f"query($id: ID!) {{ execution(id: $id) {{ {RECORD} }} }}"
    record = (await api.query(query, id=run.id))["execution"]

    assert record == {key: run.finished["execution"].get(key) for key in record}
    assert record["lastSeq"] == run.finished["seq"]
    assert record["stdout"] == run.stdout


async def test_events_can_be_followed_again_from_any_point(api: Api, sandbox: str) -> None:
    """`executionEvents(after)` gives the very same events from `after` + 1 on, to the end."""
    run = await api.run(sandbox, "for i in range(3):\n    print(i, flush=True)\n    display(i)")
    last = run.finished["seq"]

    for after in (0, 1, last // 2, last - 1):
        assert (await api.follow(run.id, after)).events == run.events[after:]
    assert (await api.follow(run.id, last)).events == []


async def test_a_second_reader_sees_the_same_events_live(api: Api, sandbox: str) -> None:
    """Two readers of a running execution see every event once, the same ones."""
    go = f"go-{uuid4().hex}"
    async with api.live(sandbox, f"print('on', flush=True)\n{WAIT.format(path=go)}") as live:
        first = await live.until("OutputChunk", "on")
        execution = {"id": first["executionId"], "after": 0}
        async with api.following(FOLLOW, "executionEvents", **execution) as second:
            await second.until("OutputChunk", "on")
            await api.upload(sandbox, go)
            mine, theirs = await asyncio.gather(live.end(), second.end())

    assert mine.events == theirs.events
    assert mine.status == "SUCCEEDED"


async def test_a_reader_that_leaves_stops_nothing(api: Api, sandbox: str) -> None:
    """A closed tab ends no execution: it is taken up again with every event once."""
    go = f"go-{uuid4().hex}"
    code = f"print('on', flush=True)\n{WAIT.format(path=go)}print('to the end')"
    async with api.live(sandbox, code) as live:
        seen = await live.until("OutputChunk", "on")
    await api.upload(sandbox, go)
    rest = await api.follow(seen["executionId"], seen["seq"])

    assert rest.stdout == "to the end\n"
    assert rest.status == "SUCCEEDED"
    assert numbers(rest)[0] == seen["seq"] + 1


async def test_one_client_id_runs_code_once(api: Api, sandbox: str) -> None:
    """Subscriptions and mutations at once with one clientExecutionId run the code once."""
    key = uuid4().hex
    code = f"with open('{key}', 'a') as f:\n    f.write('ran\\n')\nprint('once')"
    values = {"sandboxId": sandbox, "code": code, "clientExecutionId": key}
    one, two, three, four = await asyncio.gather(
        api.run(sandbox, code, clientExecutionId=key),
        api.run(sandbox, code, clientExecutionId=key),
        api.mutate("executeCode", "execution { id stdout }", **values),
        api.mutate("executeCode", "execution { id stdout }", **values),
    )

    assert one.events == two.events
    assert three == four == {"execution": {"id": one.id, "stdout": "once\n"}}
    assert await api.download(sandbox, key) == b"ran\n"


async def test_a_known_client_id_attaches_whatever_else_is_sent(api: Api, sandbox: str) -> None:
    """Where the id is known every other field but `after` is ignored, bad ones included."""
    key = uuid4().hex
    run = await api.run(sandbox, "print('first')", clientExecutionId=key)
    again = await api.run(
        sandbox, "print('second')", clientExecutionId=key, timeoutSeconds=-1, after=2
    )

    assert again.events == run.events[2:]
    assert run.finished["execution"]["clientExecutionId"] == key


async def test_interrupt_raises_in_the_running_code(api: Api, sandbox: str) -> None:
    """`interruptExecution` ends the code by KeyboardInterrupt; the state stays."""
    await api.run(sandbox, "before = 1")
    async with api.live(sandbox, "import time\nprint('up', flush=True)\ntime.sleep(60)") as live:
        up = await live.until("OutputChunk", "up")
        await api.mutate("interruptExecution", "execution { id }", executionId=up["executionId"])
        run = await live.end()

    assert run.status == "INTERRUPTED"
    assert run.error["name"] == "KeyboardInterrupt"
    assert not run.finished["interpreterRestarted"]
    assert (await api.run(sandbox, "before")).result == "1"


async def test_interrupt_takes_a_queued_execution_off_the_queue(api: Api, sandbox: str) -> None:
    """What has not begun never does; what runs before it goes on."""
    go = f"go-{uuid4().hex}"
    async with api.live(sandbox, f"print('on', flush=True)\n{WAIT.format(path=go)}") as first:
        await first.until("OutputChunk", "on")
        async with api.live(sandbox, "open('never', 'w')") as second:
            queued = await second.until("ExecutionQueued")
            payload = await api.mutate(
                "interruptExecution",
                "execution { status }",
                executionId=queued["executionId"],
            )
            taken = await second.end()
        await api.upload(sandbox, go)
        run = await first.end()

    assert queued["position"] == 1
    assert payload["execution"]["status"] == "INTERRUPTED"
    assert taken.status == "INTERRUPTED"
    assert taken.of("ExecutionStarted") == []
    assert run.status == "SUCCEEDED"
    assert await api.download(sandbox, "never") is None


async def test_interrupting_what_has_ended_changes_nothing(api: Api, sandbox: str) -> None:
    """It answers the execution as it is."""
    run = await api.run(sandbox, "1")
    payload = await api.mutate("interruptExecution", "execution { status }", executionId=run.id)

    assert payload == {"execution": {"status": "SUCCEEDED"}}


async def test_input_is_asked_for_and_answered(api: Api, sandbox: str) -> None:
    """`input()` and `getpass()` show as InputRequested and go on with what is provided."""
    code = (
        "import getpass\nname = input('who? ')\nword = getpass.getpass('word? ')\nprint(name, word)"
    )
    async with api.live(sandbox, code) as live:
        for answer in ("Ada", "ü\u2028 x"):
            asked = await live.until("InputRequested")
            await api.mutate(
                "provideInput",
                "execution { status }",
                executionId=asked["executionId"],
                inputSeq=asked["seq"],
                text=answer,
            )
        run = await live.end()

    asks = [(ask["prompt"], ask["password"]) for ask in run.of("InputRequested")]
    assert asks == [("who? ", False), ("word? ", True)]
    assert run.stdout.endswith("Ada ü\u2028 x\n")
    assert run.status == "SUCCEEDED"


async def test_input_is_answered_once_and_by_its_number(api: Api, sandbox: str) -> None:
    """Another number, an answer twice, and one after the end are CONFLICT."""
    document = "execution { status }"
    async with api.live(sandbox, "input()\ninput()") as live:
        asked = await live.until("InputRequested")
        answer = {"executionId": asked["executionId"], "text": "x"}
        with pytest.raises(GraphQLError) as other:
            await api.mutate("provideInput", document, inputSeq=asked["seq"] + 1, **answer)
        await api.mutate("provideInput", document, inputSeq=asked["seq"], **answer)
        second = await live.until("InputRequested")
        with pytest.raises(GraphQLError) as twice:
            await api.mutate("provideInput", document, inputSeq=asked["seq"], **answer)
        await api.mutate("provideInput", document, inputSeq=second["seq"], **answer)
        await live.end()
    with pytest.raises(GraphQLError) as late:
        await api.mutate("provideInput", document, inputSeq=second["seq"], **answer)

    assert [other.value.code, twice.value.code, late.value.code] == ["CONFLICT"] * 3


async def test_executions_are_listed_newest_first(api: Api, sandbox: str) -> None:
    """A sandbox's history has every execution, in pages whose cursors go on where one ended."""
    ids = [(await api.run(sandbox, f"print({n})")).id for n in range(5)]
    document = """query($id: ID!, $after: String) { sandbox(id: $id) {
        executions(first: 2, after: $after) { totalCount nodes { id stdout }
            edges { cursor node { id } } pageInfo { hasNextPage hasPreviousPage endCursor } } } }"""
    nodes: list[Json] = []
    pages: list[Json] = []
    while not pages or pages[-1]["pageInfo"]["hasNextPage"]:
        after = pages[-1]["pageInfo"]["endCursor"] if pages else None
        page = (await api.query(document, id=sandbox, after=after))["sandbox"]["executions"]
        assert [edge["node"]["id"] for edge in page["edges"]] == [n["id"] for n in page["nodes"]]
        assert page["pageInfo"]["endCursor"] == page["edges"][-1]["cursor"]
        assert page["pageInfo"]["hasPreviousPage"] == bool(pages)
        pages.append(page)
        nodes += page["nodes"]

    assert [node["id"] for node in nodes[:5]] == ids[::-1]
    assert [node["stdout"] for node in nodes[:5]] == [f"{n}\n" for n in range(4, -1, -1)]
    assert {page["totalCount"] for page in pages} == {len(nodes)}
    assert len({node["id"] for node in nodes}) == len(nodes)
