"""Who has the say over running code: interrupts, the queue, and questions with their answers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from uuid import uuid4

import pytest

from services.executor.messages import SessionLimits
from tests.support.api import Api, GraphQLError, Json, Live, Run
from tests.support.stack import Stack, running_server
from tests.support.tokens import user_token

WAIT = "import os, time\nwhile not os.path.exists({path!r}):\n    time.sleep(0.01)\n"


async def interrupt(api: Api, execution: str) -> str:
    """Interrupt an execution and return its status."""
    payload = await api.mutate("interruptExecution", "execution { status }", executionId=execution)
    return str(payload["execution"]["status"])


async def interrupted(api: Api, sandbox: str, code: str) -> Run:
    """Run code that says `up`, interrupt it then, and return it once it has ended."""
    async with api.live(sandbox, code, timeoutSeconds=60) as live:
        up = await live.until("OutputChunk", "up")
        await interrupt(api, up["executionId"])
        return await live.end()


async def answer(api: Api, asked: Json, text: str) -> None:
    """Answer a question."""
    await api.mutate(
        "provideInput",
        "execution { status }",
        executionId=asked["executionId"],
        inputSeq=asked["seq"],
        text=text,
    )


async def refused(api: Api, asked: Json, text: str) -> str:
    """Answer a question that is not open any more, and return the error's code."""
    with pytest.raises(GraphQLError) as raised:
        await answer(api, asked, text)
    return raised.value.code


async def works(api: Api, sandbox: str) -> bool:
    """Whether the next execution runs."""
    run = await api.run(sandbox, "1 + 1")
    return (run.status, run.result) == ("SUCCEEDED", "2")


# Interrupts.

UP = "print('up', flush=True)\n"
INTERRUPTIBLE = {
    "loop": f"{UP}while True: pass",
    "sleep": f"import time\n{UP}time.sleep(60)",
    "lock": f"import threading\nlock = threading.Lock()\nlock.acquire()\n{UP}lock.acquire()",
    "C that a signal wakes": f"import ctypes\n{UP}ctypes.CDLL(None).sleep(60)",
    "coroutine": f"import asyncio\n{UP}await asyncio.sleep(60)",
    "program": f"import subprocess\n{UP}subprocess.run(['sleep', '60'])",
    "shell": f"{UP}!sleep 60\nwhile True: pass",
}


@pytest.mark.parametrize("code", INTERRUPTIBLE.values(), ids=INTERRUPTIBLE)
async def test_what_hears_an_interrupt_ends_by_it(api: Api, sandbox: str, code: str) -> None:
    """Code that loops, sleeps or waits ends by KeyboardInterrupt, and the state stays."""
    await api.run(sandbox, "stays = 'here'")
    run = await interrupted(api, sandbox, code)

    assert run.status == "INTERRUPTED"
    assert run.error["name"] == "KeyboardInterrupt"
    assert not run.finished["interpreterRestarted"]
    assert run.finished["exitCode"] == 130
    assert (await api.run(sandbox, "stays")).result == "'here'"


async def test_the_traceback_of_an_interrupt_is_the_codes_own(api: Api, sandbox: str) -> None:
    """It ends in the line that was interrupted, and shows no frame of ours."""
    run = await interrupted(api, sandbox, f"import time\n{UP}time.sleep(60)")

    assert "----> 3 time.sleep(60)" in run.error["traceback"]
    assert run.error["traceback"].rstrip().endswith("KeyboardInterrupt:")
    assert "/opt/interpreter/program" not in run.error["traceback"]


DEAF = {
    "C that no signal wakes": f"""
import ctypes
lock = ctypes.create_string_buffer(128)
{UP}
ctypes.CDLL(None).pthread_mutex_lock(lock)
ctypes.CDLL(None).pthread_mutex_lock(lock)
""",
    "code that goes on": f"""
import time
{UP}
while True:
    try:
        while True: time.sleep(0.01)
    except KeyboardInterrupt:
        print("no", flush=True)
""",
    "signal ignored": f"""
import signal, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
{UP}
time.sleep(60)
""",
}


@pytest.mark.parametrize("code", DEAF.values(), ids=DEAF)
async def test_what_hears_no_interrupt_is_ended(api: Api, sandbox: str, code: str) -> None:
    """Code that goes on for longer than a grace loses its interpreter, and is INTERRUPTED too."""
    run = await interrupted(api, sandbox, code)

    assert run.status == "INTERRUPTED"
    assert run.finished["interpreterRestarted"]
    assert run.finished["exitCode"] == 130
    assert "state is gone" in run.error["value"]
    assert await works(api, sandbox)


async def test_an_interrupt_of_code_that_is_about_to_begin_is_heard(api: Api, sandbox: str) -> None:
    """Code that a task of an earlier cell keeps from beginning is interrupted, not ended."""
    code = """
import asyncio, os, time
stays = "here"
def hold():
    open("held", "w").close()
    while not os.path.exists("let-go"): time.sleep(0.01)
    os.remove("held"); os.remove("let-go")
timer = asyncio.get_event_loop().call_later(0.05, hold)
"""
    await api.run(sandbox, code)
    while await api.download(sandbox, "held") is None:
        pass
    async with api.live(sandbox, "time.sleep(60)", timeoutSeconds=60) as live:
        begun = await live.until("ExecutionStarted")
        await interrupt(api, begun["executionId"])
        await api.upload(sandbox, "let-go")
        run = await live.end()
    after = await api.run(sandbox, "print('stays' in globals())")

    assert run.status == "INTERRUPTED"
    assert (run.finished["interpreterRestarted"], after.stdout) == (False, "True\n")


async def test_code_that_catches_an_interrupt_may_end_well(api: Api, sandbox: str) -> None:
    """Where code takes the interrupt as its sign to finish, it has SUCCEEDED."""
    code = f"""
import time
try:
    {UP}    time.sleep(60)
except KeyboardInterrupt:
    print("put away")
'done'
"""
    run = await interrupted(api, sandbox, code)

    assert (run.status, run.stdout, run.result) == ("SUCCEEDED", "up\nput away\n", "'done'")
    assert run.of("ExecutionErrored") == []
    assert not run.finished["interpreterRestarted"]
    assert await works(api, sandbox)


async def test_an_interrupt_ends_a_question(api: Api, sandbox: str) -> None:
    """Code that waits in `input()` is INTERRUPTED, and nobody can answer any more."""
    async with api.live(sandbox, "stays = 'here'\ninput('who? ')") as live:
        asked = await live.until("InputRequested")
        await interrupt(api, asked["executionId"])
        run = await live.end()

    assert run.status == "INTERRUPTED"
    assert not run.finished["interpreterRestarted"]
    assert await refused(api, asked, "late") == "CONFLICT"
    assert (await api.run(sandbox, "stays")).result == "'here'"


async def test_an_interrupted_question_is_open_no_more(api: Api, sandbox: str) -> None:
    """Code that catches the interrupt and asks again gets the answer to what it asks then."""
    code = """
try:
    input("first? ")
except KeyboardInterrupt:
    print("stopped", flush=True)
print("got", input("second? "))
"""
    async with api.live(sandbox, code) as live:
        first = await live.until("InputRequested")
        await interrupt(api, first["executionId"])
        second = await live.until("InputRequested")
        late = await refused(api, first, "of the first")
        await answer(api, second, "of the second")
        run = await live.end()

    assert late == "CONFLICT"
    assert run.stdout == "stopped\ngot of the second\n"
    assert run.status == "SUCCEEDED"


async def test_an_interrupt_of_what_is_queued_spares_what_runs(api: Api, sandbox: str) -> None:
    """What is taken off the queue never begins; before and after it, all runs."""
    go = f"go-{uuid4().hex}"
    async with api.live(sandbox, f"ran = [1]\n{UP}{WAIT.format(path=go)}") as first:
        await first.until("OutputChunk", "up")
        async with (
            api.live(sandbox, "ran.append(2)") as second,
            api.live(sandbox, "ran.append(3)\nran") as third,
        ):
            queued = await second.until("ExecutionQueued")
            await third.until("ExecutionQueued")
            status = await interrupt(api, queued["executionId"])
            taken = await second.end()
            await api.upload(sandbox, go)
            last = await third.end()
        run = await first.end()

    assert (status, taken.status) == ("INTERRUPTED", "INTERRUPTED")
    assert taken.of("ExecutionStarted") == []
    assert (run.status, last.result) == ("SUCCEEDED", "[1, 3]")
    assert await works(api, sandbox)


# The queue.


async def queue(api: Api, sandbox: str, stack: AsyncExitStack, code: str) -> tuple[Live, int]:
    """Submit code that has to wait; return who follows it, and its position."""
    live = await stack.enter_async_context(api.live(sandbox, code))
    position: int = (await live.until("ExecutionQueued"))["position"]
    return live, position


async def test_a_queue_is_run_in_its_order(api: Api, sandbox: str) -> None:
    """Who is submitted while code runs knows her place, and is run first in, first out."""
    go = f"go-{uuid4().hex}"
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(
            api.live(sandbox, f"ran = [0]\n{UP}{WAIT.format(path=go)}")
        )
        await first.until("OutputChunk", "up")
        queued = [
            await queue(api, sandbox, stack, f"ran.append({n})\nprint(ran)") for n in (1, 2, 3)
        ]
        await api.upload(sandbox, go)
        runs = [await live.end() for live in (first, *(live for live, _ in queued))]

    assert [position for _, position in queued] == [1, 2, 3]
    assert [run.status for run in runs] == ["SUCCEEDED"] * 4
    assert [run.stdout for run in runs[1:]] == ["[0, 1]\n", "[0, 1, 2]\n", "[0, 1, 2, 3]\n"]


@pytest.fixture
async def wide(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    """A user of a server where she may have more executions than a queue holds."""
    log: Path = tmp_path_factory.mktemp("wide") / "log"
    with running_server(stack, log=log, MAX_CONCURRENT_EXECUTIONS="100") as server:
        async with Api(server.url, user_token(stack)) as client:
            yield client
            left = await client.query("{ sandboxes { nodes { id } } }")
            for node in left["sandboxes"]["nodes"]:
                await client.delete(node["id"])


async def test_a_full_queue_takes_no_more(wide: Api) -> None:
    """One more than the limit is CONFLICT, is on no record, and may come once there is room."""
    sandbox, most = await wide.create(), SessionLimits().queue_length
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(
            wide.live(sandbox, f"ran = []\n{UP}{WAIT.format(path='go')}")
        )
        await first.until("OutputChunk", "up")
        queued = [await queue(wide, sandbox, stack, f"ran.append({n})\nran") for n in range(most)]
        with pytest.raises(GraphQLError) as raised:
            await wide.run(sandbox, "ran.append('too many')")
        count = (await wide.sandbox(sandbox, "executions { totalCount }"))["executions"]
        await wide.upload(sandbox, "go")
        runs = [await live.end() for live, _ in queued]
        after = await wide.run(sandbox, "len(ran)")

    assert raised.value.code == "CONFLICT"
    assert raised.value.extensions["limit"] == "queue"
    assert raised.value.extensions["status"] == "RUNNING"
    assert str(most) in raised.value.message
    assert count == {"totalCount": most + 1}
    assert [position for _, position in queued] == list(range(1, most + 1))
    assert runs[-1].result.replace("\n", "") == str(list(range(most)))
    assert after.result == str(most)


# Questions.


async def test_a_question_that_nobody_answers_times_out(api: Api, sandbox: str) -> None:
    """It is TIMED_OUT by the limit, and the error says how to answer."""
    run = await api.run(sandbox, "input('anybody? ')", timeoutSeconds=3)

    assert run.status == "TIMED_OUT"
    assert run.error["name"] == "TimeoutError"
    assert "provideInput" in run.error["value"]
    assert run.finished["interpreterRestarted"]
    assert await refused(api, run.of("InputRequested")[0], "late") == "CONFLICT"
    assert await works(api, sandbox)


async def test_waiting_for_answers_is_not_the_codes_time(api: Api, sandbox: str) -> None:
    """Questions that wait longer than the limit, but each of them shorter, end nothing."""
    code = "print(input('one? ') + input('two? '))"
    async with api.live(sandbox, code, timeoutSeconds=5) as live:
        for text in ("a", "b"):
            asked = await live.until("InputRequested")
            # What passes meanwhile is what this is about.
            await asyncio.sleep(3)
            await answer(api, asked, text)
        run = await live.end()

    assert (run.status, run.stdout) == ("SUCCEEDED", "ab\n")


async def test_the_code_has_its_own_time_after_an_answer(api: Api, sandbox: str) -> None:
    """What code does after an answer counts, however late that came."""
    async with api.live(sandbox, "input('go? ')\nwhile True: pass", timeoutSeconds=2) as live:
        await answer(api, await live.until("InputRequested"), "yes")
        run = await live.end()

    assert run.status == "TIMED_OUT"
    assert "provideInput" not in run.error["value"]
    assert await works(api, sandbox)


async def test_threads_ask_at_once_and_each_gets_its_own_answer(api: Api, sandbox: str) -> None:
    """Two open questions are answered in the other order, and nobody gets another's answer."""
    code = """
import threading
answers = {}
def ask(name):
    answers[name] = input(name)
threads = [threading.Thread(target=ask, args=(name,)) for name in ("one", "two")]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
sorted(answers.items())
"""
    async with api.live(sandbox, code) as live:
        asked = [await live.until("InputRequested") for _ in range(2)]
        for question in reversed(asked):
            await answer(api, question, f"for {question['prompt']}")
        run = await live.end()

    assert {question["prompt"] for question in asked} == {"one", "two"}
    assert run.result == "[('one', 'for one'), ('two', 'for two')]"
    assert run.status == "SUCCEEDED"


async def test_an_answer_that_is_sent_again_answers_nothing_else(api: Api, sandbox: str) -> None:
    """Of answers to one question at once the first counts; none of them reaches the next one."""
    async with api.live(sandbox, "print([input('one? '), input('two? ')])") as live:
        first = await live.until("InputRequested")
        sent = await asyncio.gather(
            *(answer(api, first, "first") for _ in range(3)), return_exceptions=True
        )
        second = await live.until("InputRequested")
        again = await refused(api, first, "first")
        await answer(api, second, "second")
        run = await live.end()

    codes = sorted(error.code for error in sent if isinstance(error, GraphQLError))
    assert codes == ["CONFLICT", "CONFLICT"]
    assert again == "CONFLICT"
    assert run.stdout == "['first', 'second']\n"
