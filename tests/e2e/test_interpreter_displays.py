"""What clients of code interpreters count on to be displayed: figures, tables and bundles."""

import pytest

from tests.support.api import Api, Json, Run

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
