"""What clients of code interpreters count on of streams: whatever writes is read, as it writes."""

from uuid import uuid4

import pytest

from tests.support.api import Api, Run
from tests.support.workspace import WAIT


async def test_streams_come_apart(api: Api, sandbox: str) -> None:
    """Standard output and standard error are chunks of their own, in the order of writing."""
    code = """
import sys
for n in range(3):
    print(n, flush=True)
    print(-n, file=sys.stderr, flush=True)
"""
    run = await api.run(sandbox, code)

    assert (run.stdout, run.text("STDERR")) == ("0\n1\n2\n", "0\n-1\n-2\n")
    assert {chunk["stream"] for chunk in run.of("OutputChunk")} == {"STDOUT", "STDERR"}


async def test_output_without_a_flush_comes_while_code_sleeps(api: Api, sandbox: str) -> None:
    """What is printed without an end of line and a flush is there long before the code ends."""
    go = f"go-{uuid4().hex}"
    code = f"import sys\nprint('half a', end='')\nsys.stderr.write('line')\n{WAIT.format(path=go)}"
    async with api.live(sandbox, code) as live:
        await live.until("OutputChunk", "line")
        if not Run(live.events).stdout:
            await live.until("OutputChunk", "half a")
        await api.upload(sandbox, go)
        run = await live.end()

    assert (run.stdout, run.text("STDERR")) == ("half a", "line")


async def test_a_progress_bar_moves_as_it_is_written(api: Api, sandbox: str) -> None:
    """Each step of a bar that is drawn over arrives before the code, waiting for it, goes on."""
    name = f"seen-{uuid4().hex}"
    code = f"""
import os, time
for n in range(4):
    print(f"\\r{{n}}/4", end="")
    while not os.path.exists(f"{name}-{{n}}"):
        time.sleep(0.01)
print("\\rdone")
"""
    async with api.live(sandbox, code) as live:
        for n in range(4):
            await live.until("OutputChunk", f"\r{n}/4")
            await api.upload(sandbox, f"{name}-{n}")
        run = await live.end()

    assert run.stdout == "\r0/4\r1/4\r2/4\r3/4\rdone\n"
    assert len(run.of("OutputChunk")) >= 4


WRITERS = {
    "logging": (
        """
import logging
logging.getLogger("mine").warning("logged")
logging.basicConfig(format="%(levelname)s %(message)s", level="INFO", force=True)
logging.info("told")
logging.root.handlers.clear()
""",
        "",
        "logged\nINFO told\n",
    ),
    "descriptors": ("import os\nos.write(1, b'one'); os.write(2, b'two');", "one", "two"),
    "subprocess": (
        "import subprocess\nsubprocess.run('echo one; echo two >&2', shell=True);",
        "one\n",
        "two\n",
    ),
    "C": (
        "import ctypes\nc = ctypes.CDLL(None)\nc.puts(b'from C')\nc.fflush(None);",
        "from C\n",
        "",
    ),
    "fork": (
        """
import multiprocessing
process = multiprocessing.get_context("fork").Process(target=print, args=("forked",))
process.start()
process.join()
""",
        "forked\n",
        "",
    ),
    "thread": (
        """
import threading
thread = threading.Thread(target=print, args=("threaded",))
thread.start()
thread.join()
""",
        "threaded\n",
        "",
    ),
}


@pytest.mark.parametrize(("code", "stdout", "stderr"), WRITERS.values(), ids=WRITERS)
async def test_whatever_writes_is_read(
    api: Api, sandbox: str, code: str, stdout: str, stderr: str
) -> None:
    """Output of logging, descriptors, programs, C, forks and threads is the execution's."""
    run = await api.run(sandbox, code)

    assert (run.status, run.stdout, run.text("STDERR")) == ("SUCCEEDED", stdout, stderr)


async def test_a_warning_is_standard_error(api: Api, sandbox: str) -> None:
    """`warnings.warn` says what and where on standard error, and ends nothing."""
    run = await api.run(sandbox, "import warnings\nwarnings.warn('take care')\n'went on'")

    assert "UserWarning: take care" in run.text("STDERR")
    assert "warnings.warn('take care')" in run.text("STDERR")
    assert run.result == "'went on'"


async def test_c_without_a_flush_is_read_too(api: Api, sandbox: str) -> None:
    """What C's stdio keeps back belongs to the execution that wrote it, as Python's does."""
    run = await api.run(sandbox, "import ctypes\nctypes.CDLL(None).puts(b'kept by C');")
    later = await api.run(sandbox, "ctypes.CDLL(None).fflush(None);")

    assert (run.stdout, later.stdout) == ("kept by C\n", "")
