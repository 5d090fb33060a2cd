"""What clients of code interpreters count on: values, figures, streams and ends, over the API."""

from uuid import uuid4

import pytest

from tests.support.api import Api, Json, Run
from tests.support.stack import Server

WAIT = "import os, time\nwhile not os.path.exists({path!r}):\n    time.sleep(0.01)\n"
BUNDLE_FIELDS = "isResult displayId text html json formats bundle"


def shown(run: Run) -> list[Json]:
    """Return what was displayed."""
    return [event["data"] for event in run.of("DisplayOutput")]


async def record(api: Api, execution: str) -> Json:
    """Read an execution as it is on the record."""
    document = (
        "query($id: ID!) { execution(id: $id) { status exitCode stdout stderr lastSeq "
        f"error {{ name value traceback }} results {{ {BUNDLE_FIELDS} }} }} }}"
    )
    found: Json = (await api.query(document, id=execution))["execution"]
    return found


# Values and state.


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


# Ends.


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


# What is displayed.


async def test_png_and_text_are_one_display(api: Api, sandbox: str) -> None:
    """An object with a png has its text beside it, and other displays keep their order."""
    code = """
import base64
class Picture:
    def _repr_png_(self): return base64.b64decode("iVBORw0KGgo=")
    def __repr__(self): return "a picture"
display("before")
display(Picture())
Picture()
"""
    run = await api.run(sandbox, code)
    [before, displayed, result] = shown(run)

    assert (before["text"], before["png"]) == ("'before'", None)
    assert displayed["text"] == result["text"] == "a picture"
    assert displayed["png"] == result["png"] == "iVBORw0KGgo="
    assert [one["isResult"] for one in (before, displayed, result)] == [False, False, True]
    assert displayed["formats"] == ["text/plain", "image/png"]


async def test_latex_of_an_object_is_shown(api: Api, sandbox: str) -> None:
    """`_repr_latex_` of an object is its latex."""
    code = "class Half:\n    def _repr_latex_(self): return r'$\\frac{1}{2}$'\nHalf()"
    run = await api.run(sandbox, code)
    [result] = shown(run)

    assert result["bundle"]["text/latex"] == "$\\frac{1}{2}$"
    assert result["formats"] == ["text/plain", "text/latex"]
    assert result["isResult"]


async def test_a_frame_is_text_and_html(api: Api, sandbox: str) -> None:
    """A DataFrame shows as text and as a table."""
    run = await api.run(
        sandbox, "import pandas as pd\npd.DataFrame({'a': [1, 2], 'b': ['x', 'y']})"
    )
    [result] = shown(run)

    assert result["text"] == "   a  b\n0  1  x\n1  2  y"
    assert "<table" in result["html"]
    assert "<td>y</td>" in result["html"]


async def test_a_long_frame_is_shown_in_short(api: Api, sandbox: str) -> None:
    """Ten thousand rows show as their first and last, in less than 100 kB."""
    run = await api.run(
        sandbox, "import pandas as pd\npd.DataFrame({n: range(10_000) for n in 'abcdef'})"
    )
    [result] = shown(run)

    assert "10000 rows" in result["html"]
    assert "<td>9999</td>" in result["html"]
    assert len(result["html"]) < 100_000
    assert len(result["text"]) < 100_000


FIGURES = {
    "bar": "bar([1, 2], [3, 4])",
    "line": "plot([1, 2])",
    "pie": "pie([1, 2])",
    "scatter": "scatter([1, 2], [3, 4])",
    "box": "boxplot([1, 2, 3])",
}


@pytest.mark.parametrize("draw", FIGURES.values(), ids=FIGURES)
async def test_a_figure_is_one_png(api: Api, sandbox: str, draw: str) -> None:
    """A figure is shown once without `plt.show()`, and none is left open for the next run."""
    run = await api.run(sandbox, f"import matplotlib.pyplot as plt\nplt.{draw};")
    after = await api.run(sandbox, "plt.get_fignums()")

    assert [one["formats"] for one in shown(run)] == [["text/plain", "image/png"]]
    assert shown(run)[0]["png"].startswith("iVBORw0KGgo")
    assert not shown(run)[0]["isResult"]
    assert after.result == "[]"
    assert len(shown(after)) == 1


async def test_figures_of_one_cell_are_shown_one_by_one(api: Api, sandbox: str) -> None:
    """Two figures are two pngs; `plt.show()` shows at once, and no figure twice."""
    code = (
        "import matplotlib.pyplot as plt\nfor n in range(2):\n    plt.figure(); plt.plot([n, 1]);\n"
    )
    both = await api.run(sandbox, code)
    told = await api.run(sandbox, f"{code}plt.show()\nprint('after')")

    for run in (both, told):
        assert [bool(one["png"]) for one in shown(run)] == [True, True]
        assert shown(run)[0]["png"] != shown(run)[1]["png"]
    kinds = [event["__typename"] for event in told.events]
    assert kinds[-4:] == ["DisplayOutput", "DisplayOutput", "OutputChunk", "ExecutionFinished"]


async def test_a_display_is_updated_under_its_id(api: Api, sandbox: str) -> None:
    """An update comes with its display's id, and takes its place on the record."""
    code = """
handle = display("one", display_id="mine")
display("between")
handle.update("two")
other = display(1, display_id=True)
"""
    run = await api.run(sandbox, code)
    kept = (await record(api, run.id))["results"]

    assert [(one["displayId"], one["text"]) for one in shown(run)[:3]] == [
        ("mine", "'one'"),
        (None, "'between'"),
        ("mine", "'two'"),
    ]
    assert shown(run)[3]["displayId"] not in (None, "", "mine")
    assert [one["text"] for one in kept] == ["'two'", "'between'", "1"]


async def test_clearing_waits_where_it_is_told_to(api: Api, sandbox: str) -> None:
    """`clear_output(wait=True)` comes in its place, with its wish."""
    code = """
from IPython.display import clear_output
for n in range(2):
    print(n)
    clear_output(wait=True)
print("left")
clear_output()
"""
    run = await api.run(sandbox, code)
    events = [e.get("text", e.get("wait")) for e in run.events[2:-1]]

    assert events == ["0\n", True, "1\n", True, "left\n", False]


@pytest.mark.parametrize(
    ("mime", "value"),
    [
        (
            "application/vnd.plotly.v1+json",
            {"data": [{"type": "bar", "y": [1, 2.5, None]}], "layout": {"title": {"text": "é"}}},
        ),
        (
            "application/vnd.vegalite.v5+json",
            {"$schema": "https://vega.github.io/schema/vega-lite/v5.json", "mark": "bar"},
        ),
    ],
    ids=["plotly", "altair"],
)
async def test_bundles_of_libraries_pass_through(
    api: Api, sandbox: str, mime: str, value: Json
) -> None:
    """What `_repr_mimebundle_` gives is in `bundle` as it is, live and on the record."""
    code = f"""
class Chart:
    def _repr_mimebundle_(self, include=None, exclude=None):
        return {{{mime!r}: {value!r}, "text/plain": "a chart", "text/html": "<b>chart</b>"}}
Chart()
"""
    run = await api.run(sandbox, code)
    [live] = shown(run)
    [kept] = (await record(api, run.id))["results"]

    assert live["bundle"] == kept["bundle"] == {
        "text/plain": "a chart",
        "text/html": "<b>chart</b>",
        mime: value,
    }  # fmt: skip
    assert live["formats"][0] == "text/plain"
    assert set(live["formats"]) == {"text/plain", "text/html", mime}
    assert (live["text"], live["html"]) == ("a chart", "<b>chart</b>")


async def test_numbers_of_numpy_are_numbers_in_a_bundle(api: Api, sandbox: str) -> None:
    """What libraries put in their bundles need not be Python's own numbers, as in a notebook."""
    code = """
import numpy as np
display({"application/json": {"y": [np.int64(3), np.float32(0.5), np.float64(1.5)]}}, raw=True)
"""
    run = await api.run(sandbox, code)

    assert run.status == "SUCCEEDED"
    assert [one["bundle"]["application/json"] for one in shown(run)] == [{"y": [3, 0.5, 1.5]}]


async def test_a_bundle_that_is_no_json_is_a_note(api: Api, sandbox: str) -> None:
    """What can't be shown says so in its place, and the code goes on."""
    run = await api.run(sandbox, "display({'application/json': object()}, raw=True)\nprint(1)")

    assert (run.status, run.stdout) == ("SUCCEEDED", "1\n")
    assert [one["text"] for one in shown(run)] == [
        "[not shown: application/json, for it is no JSON]"
    ]


async def test_displays_of_numbered_ids_are_told_apart(api: Api, sandbox: str) -> None:
    """An id that is a number is as good as any, and replaces no other display on the record."""
    run = await api.run(sandbox, "display('one', display_id=1); display('two', display_id=2);")
    kept = (await record(api, run.id))["results"]

    assert [one["displayId"] for one in shown(run)] == ["1", "2"]
    assert [one["text"] for one in kept] == ["'one'", "'two'"]


STRANGE = r"""
import math, sys
print("nul \x00 half \ud83d end")
print("err \x00 \udc80", file=sys.stderr)
display({"text/plain": "t \x00 \ud83d", "application/json": {
    "k \x00 \udc80": "v \x00 \ud83d", "n": [math.nan, math.inf, -math.inf, 1.5]}}, raw=True)
raise ValueError("e \x00 \ud83d")
"""


async def test_strange_characters_and_numbers_are_kept(fresh: Api) -> None:
    """NUL stays, half a surrogate pair is U+FFFD, NaN is null: live, and in the database."""
    sandbox = await fresh.create()
    run = await fresh.run(sandbox, STRANGE)
    # Nobody but the database can answer then.
    await fresh.change("stopSandbox", sandbox)
    kept = await record(fresh, run.id)
    [live] = shown(run)
    bundle = {
        "text/plain": "t \x00 \ufffd",
        "application/json": {"k \x00 \ufffd": "v \x00 \ufffd", "n": [None, None, None, 1.5]},
    }

    assert run.stdout == kept["stdout"] == "nul \x00 half \ufffd end\n"
    assert run.text("STDERR") == kept["stderr"] == "err \x00 \ufffd\n"
    assert live["bundle"] == bundle
    assert [one["bundle"] for one in kept["results"]] == [bundle]
    assert [one["text"] for one in kept["results"]] == ["t \x00 \ufffd"]
    assert run.error["value"] == kept["error"]["value"] == "e \x00 \ufffd"


# Streams.


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
