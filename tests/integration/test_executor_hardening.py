"""The container of a running sandbox, as Docker tells of it and as code inside finds it."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from services.executor.cgroup import ContainerGroup
from services.executor.messages import ExecutionStatus
from tests.support.sessions import Desk, Lab
from tests.support.stack import docker

SECRET = "a-secret-of-the-sandboxes-owner-9b1c"
MIB = 1024 * 1024


@pytest.fixture(scope="module")
async def guarded(lab: Lab) -> Desk:
    """A session with a secret variable, and a neighbour beside it."""
    desk = await lab.start(environment={"SECRET": SECRET})
    neighbour = await lab.start()
    await neighbour.executor.write_file(neighbour.id, "private.txt", b"the neighbour's")
    return desk


@pytest.fixture(scope="module")
def settings(guarded: Desk) -> dict[str, Any]:
    """What Docker tells of the container."""
    [found] = json.loads(docker("inspect", guarded.container))
    return dict(found)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Runtime", "runsc"),
        ("NetworkMode", "none"),
        ("Memory", 512 * MIB),
        ("MemorySwap", 512 * MIB),
        ("CpuPeriod", 20_000),
        ("CpuQuota", 20_000),
        ("PidsLimit", 256),
        ("ReadonlyRootfs", True),
        ("Privileged", False),
        ("CapDrop", ["ALL"]),
        ("CapAdd", None),
        ("SecurityOpt", ["no-new-privileges:true"]),
        ("Init", True),
        ("IpcMode", "private"),
        ("PidMode", ""),
        ("UTSMode", ""),
        ("UsernsMode", ""),
        ("ShmSize", 64 * MIB),
        ("Devices", None),
        ("VolumesFrom", None),
        ("Binds", None),
        ("PortBindings", None),
        ("ExtraHosts", None),
        ("AutoRemove", False),
        ("PublishAllPorts", False),
    ],
)
def test_a_container_is_limited(settings: dict[str, Any], name: str, value: object) -> None:
    """Each of Docker's options is what the issue asks for, or nothing."""
    found = settings["HostConfig"].get(name)

    assert found == value or (value is None and not found), (name, found)


def test_sandboxes_yield_to_services(settings: dict[str, Any]) -> None:
    """Beside the machine's other processes, all sandboxes together weigh a quarter of one group."""
    group = ContainerGroup(settings["Id"])
    weights = [
        (file.name, int(file.read_text()))
        for pattern in ("*/sandboxes.slice/cpu.shares", "sandboxes.slice/cpu.weight")
        for file in Path("/sys/fs/cgroup").glob(pattern)
    ]

    assert settings["HostConfig"]["CgroupParent"].endswith("sandboxes.slice")
    assert group.consumption() is not None, "its own group is found below"
    assert weights
    assert set(weights) <= {("cpu.shares", 256), ("cpu.weight", 25)}


def test_a_container_keeps_no_log_and_no_core(settings: dict[str, Any]) -> None:
    """Log driver none, core size 0, a bounded number of open files, a sized tmpfs."""
    host = settings["HostConfig"]
    limits = {one["Name"]: (one["Soft"], one["Hard"]) for one in host["Ulimits"]}

    assert host["LogConfig"] == {"Type": "none", "Config": {}}
    assert limits["core"] == (0, 0)
    assert limits["nofile"][1] <= 4096
    assert set(host["Tmpfs"]) == {"/tmp"}  # noqa: S108
    assert f"size={64 * MIB}" in host["Tmpfs"]["/tmp"]  # noqa: S108
    assert {"nosuid", "nodev"} <= set(host["Tmpfs"]["/tmp"].split(","))  # noqa: S108


def test_a_container_sees_four_folders(settings: dict[str, Any], guarded: Desk) -> None:
    """Workspace, packages and the interpreter are the only mounts; one can be written."""
    mounts = {one["Destination"]: one for one in settings["Mounts"]}
    folder = f"{guarded.spec.node_data_dir}/sandboxes/{guarded.id}/"

    assert set(mounts) == {
        "/workspace",
        "/packages",
        "/opt/interpreter/program",
        "/opt/interpreter/lib",
    }
    assert [name for name, one in mounts.items() if one["RW"]] == ["/workspace"]
    assert all(one["Type"] == "bind" for one in mounts.values())
    assert mounts["/workspace"]["Source"].startswith(folder)
    assert mounts["/packages"]["Source"].startswith(folder)


def test_a_container_tells_whose_it_is(settings: dict[str, Any], guarded: Desk) -> None:
    """Labels name instance, session, sandbox and owner."""
    labels = settings["Config"]["Labels"]

    assert {name: labels[f"sandbox-api.{name}"] for name in ("instance", "session")} == {
        "instance": guarded.spec.instance,
        "session": guarded.id,
    }
    assert labels["sandbox-api.sandbox"] == guarded.spec.sandbox_id
    assert labels["sandbox-api.owner"] == guarded.spec.owner_id


def test_nobody_in_a_container_is_root(settings: dict[str, Any]) -> None:
    """The init is a user of its own that no account of the host has, as is the code's."""
    uids = {line.split(":")[2] for line in Path("/etc/passwd").read_text().splitlines()}
    user = settings["Config"]["User"].split(":")[0]

    assert user not in {"", "0", "root"}
    assert not {user, "61017"} & uids


async def test_a_secret_is_in_no_place_but_the_interpreter(
    guarded: Desk, settings: dict[str, Any]
) -> None:
    """The owner's variables are there for code, and not in what Docker or the init show."""
    inside = await guarded.run("import os; print(os.environ['SECRET'])")
    init = await guarded.run(
        "for pid in (1, os.getppid()):\n"
        "    try: print(open(f'/proc/{pid}/environ').read())\n"
        "    except OSError as error: print(type(error).__name__)"
    )
    processes = docker("top", guarded.container)

    assert inside.succeeded().stdout == f"{SECRET}\n"
    assert SECRET not in json.dumps(settings)
    assert SECRET not in init.succeeded().stdout
    assert SECRET not in processes


READ_MEMORY = """
pid = os.getppid()
for line in open(f'/proc/{pid}/maps'):
    if 'rw-p' in line: break
class Piece(ctypes.Structure):
    _fields_ = [('base', ctypes.c_void_p), ('length', ctypes.c_size_t)]
taken = ctypes.create_string_buffer(8)
ours = Piece(ctypes.addressof(taken), 8)
theirs = Piece(int(line.split('-')[0], 16), 8)
c(libc.process_vm_readv(pid, ctypes.byref(ours), 1, ctypes.byref(theirs), 1, 0))
"""
ESCAPES = {
    "network": "import socket; socket.create_connection(('192.0.2.1', 80), 2)",
    "host network": "import socket; s = socket.socket(); s.settimeout(2); "
    "s.connect(('172.17.0.1', 22))",
    "name lookup": "import socket; socket.getaddrinfo('example.com', 80)",
    "metadata": "import socket; socket.create_connection(('169.254.169.254', 80), 2)",
    "udp": "import socket; s = socket.socket(type=socket.SOCK_DGRAM); "
    "s.sendto(b'x', ('192.0.2.1', 53))",
    "raw socket": "import socket; socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)",
    "packet socket": "import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW)",
    "write root": "open('/planted', 'w')",
    "write etc": "open('/etc/passwd', 'a')",
    "write usr": "open('/usr/local/bin/planted', 'w')",
    "write packages": "open('/packages/planted', 'w')",
    "write current packages": "open('/packages/current/planted.py', 'w')",
    "write program": "open('/opt/interpreter/program/interpreter/boot.py', 'a')",
    "write library": "open('/opt/interpreter/lib/planted.py', 'w')",
    "remount": "c(libc.mount(b'none', b'/packages', None, 32 | 4096, None))",
    "mount": "c(libc.mount(b'tmpfs', b'/workspace', b'tmpfs', 0, None))",
    "mount proc": "import os; os.mkdir('p'); c(libc.mount(b'proc', b'p', b'proc', 0, None))",
    "unmount": "c(libc.umount2(b'/packages', 2))",
    "chroot": "import os; os.chroot('/workspace')",
    "unshare then mount": "import os; os.unshare(os.CLONE_NEWUSER | os.CLONE_NEWNS); "
    "c(libc.mount(b'none', b'/packages', None, 32 | 4096, None))",
    "chown": "import os; open('mine', 'w'); os.chown('mine', 0, 0)",
    "setuid": "import os; os.setuid(0)",
    "setgid": "import os; os.setgid(0)",
    "setgroups": "import os; os.setgroups([0])",
    "other uid": "import os; os.setresuid(61016, 61016, 61016)",
    "device": "import os, stat; os.mknod('disk', stat.S_IFBLK | 0o600, os.makedev(8, 0))",
    "memory device": "open('/dev/mem', 'rb')",
    "kernel memory": "open('/proc/kcore', 'rb').read(1)",
    "load module": "c(libc.syscall(313, 0, b'', 0))",
    "ptrace supervisor": "import os; c(libc.ptrace(16, os.getppid(), None, None))",
    "ptrace init": "c(libc.ptrace(16, 1, None, None))",
    "memory of the supervisor": "import os; open(f'/proc/{os.getppid()}/mem', 'r+b')",
    "memory of the supervisor by a call": READ_MEMORY,
    "memory of the init": "open('/proc/1/mem', 'rb')",
    "output of the init": "open('/proc/1/fd/1', 'w').write('x' * 100_000)",
    "errors of the init": "open('/proc/1/fd/2', 'w').write('x' * 100_000)",
    "root of the init": "import os; os.listdir('/proc/1/root/root')",
    "kill the init": "import os, signal; os.kill(1, signal.SIGKILL)",
    "raise the memory limit": "import resource; "
    "resource.setrlimit(resource.RLIMIT_AS, (2**40, 2**40))",
    "raise the process limit": "import resource; "
    "resource.setrlimit(resource.RLIMIT_NPROC, (10_000, 10_000))",
    "raise the core limit": "import resource; resource.setrlimit(resource.RLIMIT_CORE, (1, 1))",
    "clock": "import time; time.clock_settime(time.CLOCK_REALTIME, 0)",
    "hostname": "import socket; socket.sethostname('planted')",
    "reboot": "c(libc.reboot(0x1234567))",
    "docker": "import socket; s = socket.socket(socket.AF_UNIX); s.connect('/var/run/docker.sock')",
    "sysctl": "open('/proc/sys/kernel/core_pattern', 'w').write('|/bin/sh')",
    "cgroup": "import os; open('/sys/fs/cgroup/memory/memory.limit_in_bytes', 'w').write('-1')",
    "bpf": "c(libc.syscall(321, 0, None, 0))",
    "keyring": "c(libc.syscall(248, b'user', b'k', b'v', 1, -3))",
    "perf": "c(libc.syscall(298, None, 0, -1, -1, 0))",
}
PREPARE = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
def c(outcome):
    if outcome < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
"""


@pytest.mark.parametrize("attempt", ESCAPES)
async def test_an_attempt_to_get_out_is_refused(guarded: Desk, attempt: str) -> None:
    """Network, other folders, devices, privileges and other processes are out of reach."""
    run = await guarded.run(PREPARE + ESCAPES[attempt])

    assert run.status is ExecutionStatus.FAILED, (attempt, run.events)
    assert run.error.name in {
        "OSError", "PermissionError", "FileNotFoundError", "gaierror", "ValueError",
        "ConnectionRefusedError", "NotADirectoryError", "ProcessLookupError", "TimeoutError",
    }, run.error  # fmt: skip


async def test_only_a_loopback_is_there(guarded: Desk) -> None:
    """There is no interface but the loopback, over which code may talk to itself."""
    code = """
import socket
print([name for _, name in socket.if_nameindex()])
server = socket.create_server(('127.0.0.1', 0))
client = socket.create_connection(server.getsockname())
client.send(b'x'); print(server.accept()[0].recv(1))
"""
    run = await guarded.run(code)

    assert run.succeeded().stdout in ("['lo']\nb'x'\n", "[]\nb'x'\n")


async def test_nothing_of_others_is_to_be_found(lab: Lab, guarded: Desk) -> None:
    """No path of the host, of a neighbour or of the product's secrets is in the sandbox."""
    walk = """
import os
found = []
for root, folders, files in os.walk('/', onerror=lambda _: None):
    if root.startswith(('/proc', '/sys', '/usr', '/opt/matplotlib')):
        folders.clear(); continue
    found += [os.path.join(root, name) for name in folders + files]
print('\\n'.join(found)); print(open('/proc/mounts').read())
"""
    seen = (await guarded.run(walk)).succeeded().stdout
    others = [one.id for one in lab.desks if one is not guarded]

    for word in (*others, "private.txt", "jwt_secret", "ray_token", "docker.sock", "ended.json"):
        assert word not in seen
    assert str(lab.stack.layout.data_dir) not in seen


async def test_code_is_the_sandboxes_user(guarded: Desk) -> None:
    """Code has an unprivileged uid, no groups, no capability, and can gain none."""
    code = """
import os
lines = open('/proc/self/status').read().splitlines()
status = dict(line.split(':\\t', 1) for line in lines if ':\\t' in line)
capabilities = [int(status[name], 16) for name in ('CapEff', 'CapPrm', 'CapBnd', 'CapInh')]
print(os.getresuid(), os.getresgid(), capabilities, set(os.getgroups()) <= {61017})
"""
    run = await guarded.run(code)

    uid = (61017,) * 3
    assert run.succeeded().stdout == f"{uid} {uid} {[0] * 4} True\n"


async def test_setuid_programs_give_nothing(guarded: Desk) -> None:
    """A set-uid program, the image's or one's own, runs as nobody else."""
    code = """
import os, shutil, subprocess
shutil.copy('/usr/bin/id', 'id'); os.chmod('id', 0o6755)
print(subprocess.run(['./id', '-u'], capture_output=True, text=True).stdout.strip())
commands = 'su -c id 2>&1; mount 2>&1 -t tmpfs none /tmp'
found = subprocess.run(
    ['sh', '-c', commands], capture_output=True, text=True, stdin=subprocess.DEVNULL
)
print('uid=0' in found.stdout, found.returncode != 0)
"""
    run = await guarded.run(code)

    assert run.succeeded().stdout == "61017\nFalse True\n"


async def test_a_crash_leaves_no_core(guarded: Desk) -> None:
    """A process that crashes writes no memory image anywhere."""
    (
        await guarded.run("import subprocess; subprocess.run(['sh', '-c', 'kill -SEGV $$'])")
    ).succeeded()
    names = await guarded.value(
        "[n for n in os.listdir('/workspace') + os.listdir('/tmp') if 'core' in n]"
    )

    assert names == "[]"


async def test_disk_of_the_sandbox_is_its_own(guarded: Desk) -> None:
    """The three places to write to are as large as they are said to be, and no larger."""
    code = """
for path in ('/tmp', '/dev/shm', '/workspace'):
    found = os.statvfs(path); print(found.f_blocks * found.f_frsize // 2**20)
"""
    run = await guarded.run("import os" + code)
    tmp, shm, workspace = map(int, run.succeeded().stdout.split())

    assert tmp == shm == 64
    assert workspace <= guarded.spec.limits.disk_bytes // MIB


async def test_nothing_is_written_to_dockers_log(guarded: Desk) -> None:
    """What code prints is in no file of Docker's."""
    (
        await guarded.run("import os; os.write(1, b'marker-8311'); os.write(2, b'marker-8311');")
    ).succeeded()
    path = guarded.inspect("{{.LogPath}}")

    assert not path or not Path(path).exists()


def test_the_host_keeps_a_workspace_to_itself(lab: Lab, guarded: Desk) -> None:
    """The folder above all workspaces is closed to every user but the owner of the service."""
    folder = lab.stack.layout.data_dir / "sandboxes"

    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / guarded.id).stat().st_mode & 0o777 == 0o700
    assert folder.stat().st_uid == os.geteuid()
