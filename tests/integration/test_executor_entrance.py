"""The ways into a container: straight into gVisor's, and by Docker where that can't be."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from services.executor.direct import Command, DirectUnavailableError, Entrance, run_direct
from services.executor.interpreter import frames
from tests.support.faults import kill_actor_process
from tests.support.sessions import Desk, Lab, until

ECHO = """
import os, select
os.set_blocking(0, False)
while select.select([0], [], []):
    try:
        data = os.read(0, 65536)
    except BlockingIOError:
        continue
    if not data:
        break
    os.write(1, data)
"""
FRAME = frames.pack(frames.OUTPUT, b"\x01hello")


def entering(container_id: str) -> Iterator[bytes]:
    """Find the processes of this machine that have entered a container, by their arguments."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"exec" in words and container_id.encode() in words:
            yield b" ".join(words)


@pytest.fixture(scope="module")
async def straight(lab: Lab) -> Desk:
    """A session as it is by default."""
    return await lab.start()


def entrance(desk: Desk) -> Entrance:
    """Tell where a session's container is."""
    container_id, pid = desk.inspect("{{.Id}} {{.State.Pid}}").split()
    return Entrance(container_id, int(pid), {"PATH": "/usr/local/bin:/usr/bin"})


async def test_gvisors_containers_are_entered_without_docker(straight: Desk) -> None:
    """Docker knows of no command in the container, and code runs all the same."""
    assert await straight.value("6 * 7") == "42"
    assert straight.inspect("{{.ExecIDs}}") == "[]"
    assert len(list(entering(straight.inspect("{{.Id}}")))) == 1


async def test_nobody_waits_in_front_of_a_container_that_has_ended(lab: Lab) -> None:
    """The node's process ends with the session."""
    desk = await lab.start()
    container_id = desk.inspect("{{.Id}}")
    assert list(entering(container_id))

    await desk.executor.stop(desk.id, None)

    assert not list(entering(container_id))


async def test_nobody_waits_in_front_of_a_container_whose_actor_was_killed(lab: Lab) -> None:
    """The command ends with its stream, and the process with the command."""
    desk = await lab.start()
    container_id = desk.inspect("{{.Id}}")

    kill_actor_process(lab.stack, desk.id)

    async def gone() -> bool:
        return not list(entering(container_id))

    await until(gone)


async def test_a_command_has_the_users_rights_alone(straight: Desk) -> None:
    """No capability, no other group, the container's own variables beside the command's."""
    found = str(
        await straight.value(
            "import os, re\n"
            "status = open('/proc/self/status').read()\n"
            "str((os.getuid(), os.getgid(), os.getgroups(), os.environ['HOSTNAME'],"
            " os.environ['PATH'].split(':')[0], os.getcwd(),"
            " {int(c, 16) for c in re.findall(r'Cap\\w+:\\s*(\\w+)', status)}))"
        )
    )

    assert found == ("\"(61017, 61017, [], 'sandbox', '/usr/local/sbin', '/workspace', {0})\""), (
        found
    )


async def test_frames_go_there_and_back(straight: Desk) -> None:
    """What is written is read inside, what is written inside is read; then comes the end."""
    command = Command(("python3", "-c", ECHO), 61017, {}, "/")
    stream = await run_direct(entrance(straight), command)
    stream.socket.setblocking(True)  # noqa: FBT003
    stream.socket.sendall(FRAME)

    assert stream.feed(stream.socket.recv(len(FRAME))) == [(frames.OUTPUT, b"\x01hello")]

    stream.socket.close()
    await stream.aclose()

    assert stream.errors.decode() == ""


async def test_a_command_that_fails_says_why(straight: Desk) -> None:
    """Its standard error is kept, bounded, and the stream ends."""
    command = Command(("python3", "-c", "import sys; sys.exit('x' * 50_000)"), 61017, {}, "/")
    stream = await run_direct(entrance(straight), command)
    stream.socket.setblocking(True)  # noqa: FBT003

    assert stream.socket.recv(1) == b""

    stream.socket.close()
    await stream.aclose()

    assert stream.errors == b"x" * 8192


@pytest.mark.parametrize("pid", [1, 2**22 + 1])
async def test_only_gvisors_processes_are_entered(straight: Desk, pid: int) -> None:
    """A process that is another program's, or not of this machine, is none to run."""
    place = entrance(straight)

    with pytest.raises(DirectUnavailableError):
        await run_direct(Entrance(place.container_id, pid, {}), Command(("true",), 61017, {}, "/"))


async def test_other_runtimes_are_entered_by_docker(lab: Lab) -> None:
    """Where the container is no sandbox of gVisor's, Docker's stream does the same."""
    desk = await lab.start(runtime="runc")

    assert await desk.value("6 * 7") == "42"
    assert desk.inspect("{{len .ExecIDs}}") == "1"
    assert not list(entering(desk.inspect("{{.Id}}")))
