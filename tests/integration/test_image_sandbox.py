"""The sandbox image and the interpreter's packages, under gVisor, as sandboxes use them."""

import json
import subprocess
from pathlib import Path

import pytest

from ops.engine import Engine
from ops.layout import Layout
from tests.support.stack import Stack

NAME = "sandbox-api/python:latest"
SANDBOX = (
    "--rm", "--runtime=runsc", "--network=none", "--read-only", "--cap-drop=ALL",
    "--security-opt=no-new-privileges", "--user=61017:61017", "--tmpfs=/tmp:size=64m",
    "--log-driver=none",
)  # fmt: skip


def python(code: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run code in a container of the image, isolated from where it is."""
    return subprocess.run(
        ["docker", "run", *SANDBOX, *options, NAME, "python3", "-I", "-c", code],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def library(stack: Stack) -> Path:
    """Folder of the interpreter's packages on this machine."""
    return Path(stack.state("node")["interpreter_lib"])


def test_it_is_named_by_what_it_is_made_from(stack: Stack) -> None:
    """The node's note names an image that is there, and `latest` is the same one."""
    named = Engine().docker("image", "inspect", "--format", "{{.Id}}", stack.state("node")["image"])

    assert named == Engine().docker("image", "inspect", "--format", "{{.Id}}", NAME)


@pytest.mark.usefixtures("stack")
def test_its_packages_work_without_root_and_without_writing() -> None:
    """NumPy, pandas and matplotlib work on a read-only root, and nobody complains."""
    done = python(
        "import numpy, pandas, matplotlib.pyplot as plt\n"
        "pandas.DataFrame({'a': numpy.arange(3)}).plot(); plt.savefig('/tmp/plot.png')\n"
        "print(open('/tmp/plot.png', 'rb').read(4))"
    )

    assert done.returncode == 0, done.stderr
    assert "PNG" in done.stdout
    assert done.stderr == ""


@pytest.mark.usefixtures("stack")
def test_the_font_list_is_not_made_anew() -> None:
    """The list that matplotlib finds is the image's, to the byte, and was there at once."""
    done = python(
        "import pathlib, matplotlib, matplotlib.font_manager\n"
        "prepared, = pathlib.Path('/opt/matplotlib').iterdir()\n"
        "used = pathlib.Path(matplotlib.get_cachedir(), prepared.name)\n"
        "print(used.read_bytes() == prepared.read_bytes())\n"
        "print(used.stat().st_mtime == prepared.stat().st_mtime)"
    )

    assert done.stdout.split() == ["True", "True"], done.stderr


@pytest.mark.usefixtures("stack")
def test_a_folder_for_fonts_that_can_not_be_written_is_no_fault() -> None:
    """Python starts the same where nothing is writable, and where the variable is not there."""
    for options in (("--env=MPLCONFIGDIR=/proc/none",), ("--env=MPLCONFIGDIR=",)):
        done = python("print('up')", *options)

        assert (done.stdout, done.stderr) == ("up\n", "")


@pytest.mark.usefixtures("stack")
def test_the_default_command_stays_up_on_a_terminal() -> None:
    """ray-agents starts containers with a terminal and no command."""
    engine = Engine()
    name = engine.docker("run", "-dt", "--runtime=runsc", "--network=none", NAME).strip()
    try:
        # Something has run in it, so it has had its start behind it.
        assert engine.docker("exec", name, "python3", "-c", "print('in')").strip() == "in"
        assert engine.docker("inspect", "--format", "{{.State.Running}}", name).strip() == "true"
    finally:
        engine.docker("rm", "-f", name)


@pytest.mark.usefixtures("stack")
def test_its_users_are_nobody_here() -> None:
    """`sandbox` and `init` have uids that nobody on the machine has."""
    done = python(
        "import pwd, json; print(json.dumps([pwd.getpwnam(n).pw_uid for n in ('sandbox', 'init')]))"
    )

    uids = set(json.loads(done.stdout))
    assert uids == {61017, 61016}
    here = {int(line.split(":")[2]) for line in Path("/etc/passwd").read_text().splitlines()}
    assert not uids & here


def test_the_interpreters_packages_are_enough_and_pure(library: Path) -> None:
    """IPython's shell runs from that folder alone, and nothing in it is compiled."""
    done = python(
        "import sys; sys.path.insert(0, '/opt/interpreter/lib')\n"
        "from IPython.core.interactiveshell import InteractiveShell\n"
        "import IPython, matplotlib_inline.backend_inline\n"
        "shell = InteractiveShell.instance()\n"
        "shell.run_cell('answer = 20 + 1')\n"
        "print(shell.user_ns['answer'], IPython.__file__)",
        f"--volume={library}:/opt/interpreter/lib:ro",
        "--tmpfs=/workspace:uid=61017",
    )

    assert done.stdout.split() == ["21", "/opt/interpreter/lib/IPython/__init__.py"], done.stderr
    assert not list(library.rglob("*.so"))


def test_bytecode_is_there(library: Path, stack: Stack) -> None:
    """The image's Python finds each module compiled: it can't write there itself."""
    tag = f"cpython-{stack.state('node')['python'].replace('.', '')}"

    for module in (library / "IPython").rglob("*.py"):
        assert (module.parent / "__pycache__" / f"{module.stem}.{tag}.pyc").exists(), module


def test_the_note_is_of_this_instance(stack: Stack) -> None:
    """Each DATA_DIR has a folder of its own."""
    layout: Layout = stack.layout

    assert Path(stack.state("node")["interpreter_lib"]).is_relative_to(layout.interpreter)
