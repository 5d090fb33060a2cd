"""Sessions of a real executor: started, side by side, stopped, killed, and started again."""

import asyncio
import time
import uuid
from dataclasses import replace

import pytest

from services.executor import cluster
from services.executor.errors import NoCapacityError, SandboxStartError, SessionGoneError
from services.executor.messages import ExecutionStatus, InstallRequest, SessionLimits
from services.executor.rayagents import ACTOR_NAMESPACE, ACTOR_PREFIX
from tests.support.sessions import BUSY, Lab
from tests.support.stack import docker

CAPACITY_SECONDS = 15.0


async def test_several_starts_at_once_make_one_container(lab: Lab) -> None:
    """Racing starts of one session all succeed, with one actor and one container."""
    desk = lab.desk()
    infos = await asyncio.gather(*(desk.executor.start(desk.spec) for _ in range(4)))
    label = f"label=sandbox-api.session={desk.id}"

    assert len({info.started_at for info in infos}) == 1
    assert len(docker("ps", "--all", "--quiet", "--filter", label).split()) == 1
    await desk.executor.destroy(desk.id, infos[0].node_id)
    await desk.executor.destroy(desk.id, infos[0].node_id)


async def test_packages_installed_beside_code_are_importable_at_once(lab: Lab) -> None:
    """An installation runs beside code; its package imports then, and after stop and start."""
    desk = await lab.start()
    running = await desk.submit(BUSY)
    await desk.until_printed(running, "up")
    request = InstallRequest(str(uuid.uuid4()), ("six",))
    await desk.executor.install(desk.id, request)
    (await desk.follow(request.execution_id)).succeeded()
    await desk.executor.interrupt(desk.id, running)
    assert await desk.value("import six; six.__name__") == "'six'"
    await desk.executor.stop(desk.id, None)
    await desk.executor.start(desk.spec)

    assert await desk.value("import six; six.__name__") == "'six'"
    collected = await desk.executor.collect(desk.id, [], 0, wait_seconds=0)
    assert collected.packages is not None
    assert [one.name for one in collected.packages] == ["six"]


async def test_a_stop_tells_what_was_lost(lab: Lab) -> None:
    """Running and queued executions end LOST with the reason; files stay for the next start."""
    desk = await lab.start()
    await desk.executor.write_file(desk.id, "kept.txt", b"kept")
    ended = await desk.submit("print('ended')")
    await desk.ended(ended)
    running = await desk.submit(BUSY)
    await desk.until_printed(running, "up")
    queued = await desk.submit("1")
    records = {one.execution_id: one for one in await desk.executor.stop(desk.id, None)}

    assert {name: one.status for name, one in records.items()} == {
        ended: ExecutionStatus.SUCCEEDED,
        running: ExecutionStatus.LOST,
        queued: ExecutionStatus.LOST,
    }
    assert records[running].stdout == "up\n"
    assert "stopped" in str(records[running].error)
    with pytest.raises(SessionGoneError):
        await desk.submit("1")
    assert await desk.executor.stop(desk.id, None) == ()
    traces = {one.session_id: one for one in await desk.executor.inventory()}
    trace = traces[desk.id]
    assert (trace.actor, trace.container, trace.folders) == (False, False, True)
    await desk.executor.start(desk.spec)
    assert await desk.value("open('kept.txt').read()") == "'kept'"


async def test_an_actor_killed_from_outside(lab: Lab) -> None:
    """Its readers are told that the session is gone; the next start has the same files."""
    desk = await lab.start()
    (await desk.run("open('kept.txt', 'w').write('kept')")).succeeded()
    execution = await desk.submit(BUSY)
    await desk.until_printed(execution, "up")
    reader = asyncio.create_task(desk.executor.read(desk.id, execution, 10))
    handle = await cluster.blocking(cluster.find_actor, f"{ACTOR_PREFIX}{desk.id}", ACTOR_NAMESPACE)
    await cluster.blocking(cluster.end_actor, handle)
    with pytest.raises(SessionGoneError):
        async with asyncio.timeout(30):
            await reader
    await desk.executor.start(desk.spec)

    assert await desk.value("open('kept.txt').read()") == "'kept'"
    assert await desk.processes() < 10


async def test_no_room_is_said_in_time(lab: Lab) -> None:
    """A session that the cluster has no place for fails with words, soon, and leaves nothing."""
    desk = lab.desk(num_cpus=10_000.0)
    began = time.monotonic()
    with pytest.raises(NoCapacityError, match="no room"):
        await desk.executor.start(desk.spec)

    assert time.monotonic() - began < CAPACITY_SECONDS


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"image": "sandbox-api/none:such"}, "image"),
        ({"runtime": "no-such-runtime"}, "no-such-runtime"),
        ({"node_id": "0" * 56}, "node"),
    ],
)
async def test_a_start_that_can_not_be(lab: Lab, changes: dict[str, str], words: str) -> None:
    """A missing image, runtime or node is named, and nothing stays."""
    desk = lab.desk(**changes)
    with pytest.raises(SandboxStartError, match=words):
        await desk.executor.start(desk.spec)

    label = f"label=sandbox-api.session={desk.id}"
    assert not docker("ps", "--all", "--quiet", "--filter", label)
    assert not await cluster.blocking(
        cluster.find_actor, f"{ACTOR_PREFIX}{desk.id}", ACTOR_NAMESPACE
    )


@pytest.mark.long
async def test_thirty_two_idle_sessions_fit(lab: Lab) -> None:
    """Thirty-two sessions start on this machine and all answer."""
    desks = [lab.desk() for _ in range(32)]
    for batch in range(0, 32, 4):
        await asyncio.gather(*(lab.executor.start(one.spec) for one in desks[batch : batch + 4]))
    answers = await asyncio.gather(*(one.value(f"{n}") for n, one in enumerate(desks)))
    # Their place is the next test's.
    for one in desks:
        await lab.executor.destroy(one.id, None)

    assert answers == [str(n) for n in range(32)]


@pytest.mark.long
async def test_ten_run_code_side_by_side(lab: Lab) -> None:
    """Ten sessions run code at the same time, and each sees its own state alone."""
    desks = [await lab.start() for _ in range(10)]
    code = "import time\nmine = {n}\nfor _ in range(20): time.sleep(0.05); print(mine, end='')"
    runs = await asyncio.gather(*(one.run(code.format(n=n)) for n, one in enumerate(desks)))

    assert [run.succeeded().stdout for run in runs] == [f"{n}" * 20 for n in range(10)]


@pytest.mark.long
async def test_a_plain_folder_is_watched(lab: Lab) -> None:
    """Where a node has no loop mounts, code over the disk limit is ended and told why."""
    desk = lab.desk(limits=SessionLimits(disk_bytes=64_000_000))
    folder = lab.stack.layout.sandboxes / desk.spec.session_id
    folder.mkdir(mode=0o700, parents=True)
    (folder / "plain").touch()
    await lab.executor.start(desk.spec)
    run = await desk.run(
        "import time\nfor n in range(100): open(f'{n}', 'wb').write(b'x' * 10**6)\ntime.sleep(30)"
    )
    await desk.run("!rm -f /workspace/*")
    after = await desk.run("1 + 1")

    assert run.status is ExecutionStatus.LOST
    assert "disk limit" in run.error.value
    assert after.status is ExecutionStatus.SUCCEEDED


@pytest.mark.long
async def test_a_node_that_has_joined_again_has_its_sessions(lab: Lab) -> None:
    """Ray names a node anew each time: a session goes back to the one that has its folders."""
    desk = await lab.start()
    await desk.executor.write_file(desk.id, "kept.txt", b"kept")
    await desk.executor.stop(desk.id, None)

    info = await desk.executor.start(replace(desk.spec, node_id="0" * 56))
    kept = await desk.executor.read_file(desk.id, "kept.txt", 0, 10)

    assert info.node_id != "0" * 56
    assert kept.data == b"kept"


async def test_installations_that_come_at_once_take_turns(lab: Lab) -> None:
    """Four first installations at the same moment all succeed, one after another."""
    desk = await lab.start()
    names = [uuid.uuid4().hex for _ in range(4)]
    await asyncio.gather(
        *(desk.executor.install(desk.id, InstallRequest(name, ("six",))) for name in names)
    )
    ends = await asyncio.gather(*(desk.executor.wait_ended(desk.id, name) for name in names))

    assert [end.status for end in ends] == [ExecutionStatus.SUCCEEDED] * 4
