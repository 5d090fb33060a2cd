"""ray-agents' own tools, called by another Ray driver on a session of ours."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest

from ops.layout import REPOSITORY
from services.executor.errors import ClusterUnavailableError, SessionGoneError
from services.executor.messages import ExecutionStatus
from services.executor.rayagents import CONTAINER_PREFIX
from tests.support.sessions import Desk, Lab
from tests.support.stack import Stack, docker

DRIVER = """
import base64, json, sys
import ray
ray.init(address=sys.argv[1], log_to_driver=False, logging_level="ERROR")
from rayai.sandbox import tools
answers = []
for name, arguments in json.load(sys.stdin):
    if "content" in arguments:
        arguments["content"] = base64.b64decode(arguments["content"])
    try:
        answers.append(dict(ray.get(getattr(tools, name).remote(**arguments), timeout=120)))
    except Exception as error:
        answers.append({"raised": str(error)})
print("ANSWERS" + json.dumps(answers))
"""

Call = tuple[str, Mapping[str, object]]


async def drive(stack: Stack, *calls: Call, **variables: str) -> list[dict[str, Any]]:
    """Call ray-agents' tools from a process that knows nothing of this project."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": os.environ["HOME"],
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(stack.layout.ray_token),
    }
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", DRIVER, stack.state("ray")["address"]],
        input=json.dumps(calls),
        env=environment | variables,
        cwd="/",
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    _, found, answers = done.stdout.rpartition("ANSWERS")
    assert found, done.stderr
    return list(json.loads(answers))


async def test_their_tools_work_on_our_sessions(lab: Lab) -> None:
    """execute_code, execute_shell, upload_file and get_session_stats share state with the API."""
    desk = await lab.start()
    (await desk.run("def ours(x): return x + 1")).succeeded()
    same = {"session_id": desk.id}
    calls: list[Call] = [
        ("execute_code", {**same, "code": "text = '''it's \\n'''\nprint(ours(41), repr(text))"}),
        ("execute_code", {**same, "code": "import sys; print('e', file=sys.stderr); 1 / 0"}),
        ("execute_code", {**same, "code": "import sys; sys.exit(4)"}),
        ("execute_code", {**same, "code": "while True: pass", "timeout": 1}),
        ("execute_shell", {**same, "command": 'pwd; echo "it\'s $HOME" >&2; exit 3'}),
        ("execute_shell", {**same, "command": "sleep 100", "timeout": 1}),
        ("upload_file", {**same, "path": "up/data.bin", "content": "AP8n"}),
        ("upload_file", {**same, "path": "/tmp/data.csv", "content": ""}),  # noqa: S108
        ("execute_code", {**same, "code": "import os; os._exit(9)"}),
        ("execute_code", {**same, "code": "print(open('up/data.bin', 'rb').read()); shared = 5"}),
        ("get_session_stats", same),
    ]
    ok, error, left, late, shell, slow, up, outside, died, read, stats = await drive(
        lab.stack, *calls
    )

    assert (ok.get("status"), ok.get("exit_code")) == ("success", 0), ok
    assert ok["stdout"] == '42 "it\'s \\n"\n'
    assert (error["status"], error["exit_code"]) == ("error", 1)
    assert error["stderr"].startswith("e\n")
    assert "ZeroDivisionError: division by zero" in error["stderr"]
    assert (left["status"], left["exit_code"]) == ("error", 4)
    assert (late["status"], late["error_type"]) == ("error", "TimeoutError")
    assert (shell["status"], shell["exit_code"]) == ("error", 3)
    assert (shell["stdout"], shell["stderr"]) == ("/workspace\n", "it's /workspace\n")
    assert slow["error_type"] == "TimeoutError"
    assert (up["status"], up["path"], up["size"]) == ("success", "up/data.bin", 3)
    assert outside["status"] == "error"
    assert "/workspace" in outside["error"]
    assert died["status"] == "error"
    assert read["stdout"] == 'b"\\x00\\xff\'"\n'
    assert stats["session_id"] == desk.id
    assert stats["container_status"] == "running"
    assert stats["execution_count"] == 1 + 8
    assert stats["uptime"] > 0
    assert await desk.value("shared") == "5"


async def test_tools_wait_in_the_same_queue_and_leave_no_record(lab: Lab) -> None:
    """A tool's run waits for what runs, and no recorder is given it."""
    desk = await lab.start()
    busy = await desk.submit("print('up', flush=True)\nimport time; time.sleep(1); first = True")
    await desk.until_printed(busy, "up")
    [answer] = await drive(
        lab.stack, ("execute_code", {"session_id": desk.id, "code": "print(first)"})
    )

    assert answer["stdout"] == "True\n"
    assert [record.execution_id for record in await desk.recorded()] == [busy]


async def test_what_tools_ask_of_a_session_that_runs_is_refused(lab: Lab) -> None:
    """Volumes, images, environments and sidecars that a tool names change nothing."""
    desk = await lab.start()
    asked = {
        "session_id": desk.id,
        "code": "import os; print(os.path.exists('/host'), os.environ.get('EXTRA'))",
        "volumes": {"/etc": {"bind": "/host", "mode": "rw"}},
        "image": "sandbox-api/none:such",
        "dockerfile": "FROM scratch",
        "environment": {"EXTRA": "1"},
        "mcp_allowlist": ["http://127.0.0.1:1/"],
    }
    before = desk.inspect("{{.Id}}")
    [answer] = await drive(lab.stack, ("execute_code", asked))

    assert answer["stdout"] == "False None\n"
    assert desk.inspect("{{.Id}}") == before
    assert "sidecar" not in docker("ps", "--all", "--format", "{{.Names}}")


async def test_their_clean_up_stops_the_session(lab: Lab) -> None:
    """cleanup_session leaves neither actor nor container, but the files and the reason."""
    desk = await lab.start()
    await desk.executor.write_file(desk.id, "kept.txt", b"kept")
    running = await desk.submit("print('up', flush=True)\nwhile True: pass")
    await desk.until_printed(running, "up")
    recorder = asyncio.create_task(desk.executor.collect(desk.id, [], 1, wait_seconds=60))
    [answer, again] = await drive(
        lab.stack,
        ("cleanup_session", {"session_id": desk.id}),
        ("cleanup_session", {"session_id": desk.id}),
    )
    collected = await recorder
    words = await desk.executor.last_words(desk.id, None)

    assert answer["status"] == "success"
    assert again["status"] == "error"
    assert collected.stopped_reason is not None
    assert "cleanup_session" in collected.stopped_reason
    assert [one.status for one in collected.ended] == [ExecutionStatus.LOST]
    assert words is not None
    assert (words.stopped_reason, words.failed) == (collected.stopped_reason, False)
    with pytest.raises(SessionGoneError):
        await desk.submit("1")
    await desk.executor.start(desk.spec)
    assert await desk.value("open('kept.txt').read()") == "'kept'"
    assert await desk.executor.last_words(desk.id, None) is None


@pytest.mark.long
async def test_a_stock_executor_of_the_name_is_replaced(lab: Lab, stack: Stack) -> None:
    """It refuses calls of ours in words; a start ends it, and takes its place."""
    desk: Desk = lab.desk()
    [stock] = await drive(
        stack,
        ("execute_code", {"session_id": desk.id, "code": "print(1)", "image": desk.spec.image}),
        RAYAI_SANDBOX_RUNTIME="runsc",
    )
    assert "status" in stock
    with pytest.raises(ClusterUnavailableError, match="another version"):
        await desk.executor.state(desk.id)
    await desk.executor.start(desk.spec)

    assert await desk.value("6 * 7") == "42"
    assert desk.container == f"{CONTAINER_PREFIX}-{desk.id}"
    assert desk.inspect("{{.HostConfig.ReadonlyRootfs}} {{.HostConfig.NetworkMode}}") == "true none"
    assert str(REPOSITORY) not in (await desk.run("!env")).stdout
