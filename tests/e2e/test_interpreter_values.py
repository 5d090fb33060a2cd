"""What clients of code interpreters count on of values and state, and after every end."""

from uuid import uuid4

from tests.support.api import Api
from tests.support.stack import Server
from tests.support.workspace import WAIT


async def test_the_last_expression_is_the_result(api: Api, sandbox: str) -> None:
    """`x = 1; x` has the text "1"."""
    run = await api.run(sandbox, "x = 1; x")

    assert run.result == "1"
    assert (run.status, run.stdout) == ("SUCCEEDED", "")


async def test_state_survives_a_run(api: Api, sandbox: str) -> None:
    """What one run names, the next one knows; so it is after one that failed."""
    await api.run(sandbox, "kept = 20")
    failed = await api.run(sandbox, "kept += 1\n1 / 0")
    run = await api.run(sandbox, "kept * 2")

    assert failed.error["name"] == "ZeroDivisionError"
    assert run.result == "42"


async def test_a_second_client_attaches_and_sees_all(
    api: Api, sandbox: str, server: Server
) -> None:
    """Another client, by the same clientExecutionId, gets a running execution's every event."""
    key, go = uuid4().hex, f"go-{uuid4().hex}"
    code = f"print('begun', flush=True)\n{WAIT.format(path=go)}print('over')\n'value'"
    async with (
        Api(server.url, api.token) as other,
        api.live(sandbox, code, clientExecutionId=key) as first,
    ):
        await first.until("OutputChunk", "begun")
        async with other.live(sandbox, code, clientExecutionId=key) as second:
            await second.until("OutputChunk", "begun")
            await other.upload(sandbox, go)
            theirs = await second.end()
        mine = await first.end()

    assert theirs.events == mine.events
    assert (theirs.stdout, theirs.result) == ("begun\nover\n", "'value'")


async def test_a_shell_command_runs_in_the_workspace(api: Api, sandbox: str) -> None:
    """`!pwd` is the workspace, and a file that code writes is the API's by a relative path."""
    name = f"written-{uuid4().hex}"
    run = await api.run(sandbox, f"!pwd\nopen({name!r}, 'w').write('here');")

    assert run.stdout == "/workspace\n"
    assert await api.download(sandbox, name) == b"here"


async def test_a_sandbox_has_an_environment_and_a_run_has_more(fresh: Api) -> None:
    """A run's variables cover the sandbox's, are its alone, and move no line of its code."""
    sandbox = await fresh.create(
        environment=[{"name": "OF_BOX", "value": "box"}, {"name": "BOTH", "value": "box"}]
    )
    code = "import os\nprint([os.environ.get(n) for n in ('OF_BOX', 'BOTH', 'OF_RUN')])\n1 / 0"
    before = await fresh.run(sandbox, code)
    during = await fresh.run(
        sandbox,
        code,
        environment=[{"name": "BOTH", "value": "run"}, {"name": "OF_RUN", "value": "a\nb"}],
    )
    after = await fresh.run(sandbox, code)

    assert before.stdout == after.stdout == "['box', 'box', None]\n"
    assert during.stdout == "['box', 'run', 'a\\nb']\n"
    for run in (before, during, after):
        assert "line 3" in run.error["traceback"]
        assert "----> 3 1 / 0" in run.error["traceback"]


async def test_a_hundred_threads_wait_at_once(fresh: Api) -> None:
    """Threads that do next to nothing fit, for a sandbox may have more processes than that."""
    code = """
import threading
over = threading.Event()
threads = [threading.Thread(target=over.wait) for _ in range(100)]
try:
    for thread in threads:
        thread.start()
finally:
    over.set()
    print(sum(thread.ident is not None for thread in threads))
"""
    run = await fresh.run(await fresh.create(), code)

    assert (run.status, run.stdout) == ("SUCCEEDED", "100\n")


async def test_a_time_out_leaves_a_sandbox_that_works(api: Api, sandbox: str) -> None:
    """Code that sleeps past its limit is TIMED_OUT, and what comes next runs."""
    run = await api.run(sandbox, "import time; time.sleep(300)", timeoutSeconds=3)
    after = await api.run(sandbox, "1 + 1")

    assert run.status == "TIMED_OUT"
    assert run.finished["interpreterRestarted"]
    assert "timeoutSeconds" in run.error["value"]
    assert after.result == "2"


async def test_a_killed_interpreter_is_told_of(api: Api, sandbox: str) -> None:
    """An interpreter that is killed in a run is LOST, with what it had printed; the next works."""
    run = await api.run(
        sandbox, "import os\nprint('last words', flush=True)\nos.kill(os.getpid(), 9)"
    )
    after = await api.run(sandbox, "1 + 1")

    assert run.status == "LOST"
    assert run.finished["interpreterRestarted"]
    assert run.finished["exitCode"] == 128 + 9
    assert "SIGKILL" in run.error["value"]
    assert run.stdout == "last words\n"
    assert after.result == "2"
    assert not after.finished["interpreterRestarted"]


async def test_what_is_flushed_before_a_hard_exit_arrives(api: Api, sandbox: str) -> None:
    """`os._exit(3)` right after a flushed print fails with 3, and the print is there."""
    run = await api.run(sandbox, "import os\nprint('out' * 1000, flush=True)\nos._exit(3)")
    after = await api.run(sandbox, "1 + 1")

    assert run.stdout == "out" * 1000 + "\n"
    assert (run.status, run.finished["exitCode"]) == ("FAILED", 3)
    assert run.finished["interpreterRestarted"]
    assert after.result == "2"
