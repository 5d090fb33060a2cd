"""The benchmark's own parts: what it says of durations, how it takes turns, what it draws."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path

import pytest

from app.settings import Settings
from app.token import DEVELOPER, HOUR_SECONDS, development_token
from bench.figures import Figure, figure, first_outputs, ratios, table
from bench.floods import Reader, flood_code
from bench.keepalive import AnswerError, connections, data_of, posted
from bench.layers import layers
from bench.plot import bars, decades
from bench.queries import DOCUMENTS, LAYERS, Asked, compared, shape_of
from bench.turns import WARM_UPS, Once, Subject, SubjectError, in_turn
from tests.support.serving import serving

SVG = "{http://www.w3.org/2000/svg}"


def subject(name: str, calls: list[str], runs: int, fails_at: int = -1) -> Subject:
    """Make a subject that notes its turns and, where asked to, fails once and for all."""
    had = 0

    async def once() -> tuple[float, float]:
        nonlocal had
        if had == fails_at:
            raise SubjectError("gone")
        had += 1
        calls.append(name)
        return float(had), float(had + 1)

    made: Once = once
    return Subject(name, made, runs)


def named(figures: Sequence[Figure]) -> dict[str, int]:
    """Return the figures' names with their runs."""
    return {one.name: one.runs for one in figures}


def test_a_figure_is_in_milliseconds_and_ordered() -> None:
    """Percentiles are of all durations, whatever their order."""
    found = figure("x", [number / 1000 for number in range(100, 0, -1)])

    assert (found.runs, found.p50, found.p99, found.least) == (100, 51.0, 100.0, 1.0)
    assert figure("one", [0.002]).p99 == 2.0


def test_ratios_are_against_ours() -> None:
    """Ours is put over the floor, the others over ours; what is missing has none."""
    first = {"ours": 6.0, "bare": 2.0, "slow": 300.0}

    assert ratios(first, "ours", ["bare"]) == {"ours / bare": 3.0, "slow / ours": 50.0}
    assert ratios({"bare": 2.0}, "ours", ["bare"]) == {}


def test_first_outputs_are_those_of_the_subjects() -> None:
    """Figures of ends and of subjects that were not asked for are left out."""
    figures = [figure("a: first output", [0.001]), figure("a: end", [0.002])]

    assert first_outputs([*figures, figure("c: first output", [1])], ["a", "b"]) == {"a": 1.0}


def test_a_table_is_markdown() -> None:
    """A head, a line, and a line for each row."""
    assert table([("a", 1)], ("name", "ms")) == "| name | ms |\n|---|---|\n| a | 1 |"


async def test_subjects_take_turns() -> None:
    """Those of as many runs in one loop, the many first; each loop is warmed up."""
    calls: list[str] = []

    subjects = [subject("c", calls, 1), subject("a", calls, 2), subject("b", calls, 2)]
    figures, failed = await in_turn(subjects)

    assert calls == ["a"] * WARM_UPS + ["b"] * WARM_UPS + list("abab") + ["c"] * (WARM_UPS + 1)
    assert named(figures) == {
        "c: first output": 1,
        "a: first output": 2,
        "b: first output": 2,
        "c: end": 1,
        "a: end": 2,
        "b: end": 2,
    }
    assert failed == {}


@pytest.mark.parametrize("fails_at", [0, WARM_UPS, WARM_UPS + 1])
async def test_a_subject_that_fails_leaves_the_others(fails_at: int) -> None:
    """It has no figures then, and the reason is told."""
    calls: list[str] = []

    figures, failed = await in_turn([subject("a", calls, 3), subject("b", calls, 3, fails_at)])

    assert named(figures) == {"a: first output": 3, "a: end": 3}
    assert failed == {"b": "gone"}


def test_a_reader_counts_text_and_gaps() -> None:
    """Events without either count nothing."""
    reader = Reader()
    reader.take({"__typename": "OutputChunk", "seq": 2, "text": "abc"})
    reader.take({"__typename": "OutputGap", "seq": 3, "droppedBytes": 5.0})
    reader.take({"__typename": "InputRequested", "seq": 4})

    assert (reader.received, reader.dropped, reader.asked) == (3, 5, 4)


def test_a_flood_is_code() -> None:
    """It compiles, with something before it or not."""
    for before in ("", "input()"):
        compile(flood_code(1_000_000, before), "flood", "exec")


def test_the_scale_spans_all_bars() -> None:
    """Whole powers of ten below and above, two of them at least."""
    assert decades(0.4, 320.0) == (-1, 3)
    assert decades(1.0, 1.0) == (0, 1)


def test_bars_are_ordered_and_logarithmic() -> None:
    """Each tenfold duration is as much longer; names are escaped; ours has its own colour."""
    drawn = ET.fromstring(bars("<t>", {"slow & big": 100.0, "ours": 1.0, "mid": 10.0}, "ours"))  # noqa: S314 - our own

    texts = [element.text for element in drawn.iter(f"{SVG}text")]
    names = [text for text in texts if text in {"slow & big", "ours", "mid"}]
    assert names == ["ours", "mid", "slow & big"]
    assert "<t>" in texts
    assert "100 ms" in texts
    rects = list(drawn.iter(f"{SVG}rect"))[1:]
    widths = [float(rect.attrib["width"]) for rect in rects]
    assert widths[2] == pytest.approx(2 * widths[1], abs=0.2)
    assert len({rect.attrib["fill"] for rect in rects}) == 2
    assert all(re.fullmatch(r"#[0-9a-f]{6}", rect.attrib["fill"]) for rect in rects)


def asked(layer: str, rates: list[float], answered: int, loop_seconds: float) -> Asked:
    """Make what a layer's turns have found."""
    return Asked(layer, "", b"", (), 0, rates, answered, loop_seconds)


def test_layers_are_compared_round_by_round() -> None:
    """A round in which the machine was slow is slow for all; the middle ratio counts."""
    found = compared(
        [
            asked("plain", [100.0, 50.0, 200.0], 35, 0.07),
            asked("tokens", [50.0, 25.0, 10.0], 17, 0.068),
            asked("ours", [25.0, 10.0, 10.0], 9, 0.09),
        ]
    )

    assert {name: tuple(figures.values()) for name, figures in found.items()} == {
        "plain": (100.0, 1.0, 2.0, 1.0, 1.0),
        "tokens": (25.0, 2.0, 4.0, 2.0, 2.0),
        "ours": (10.0, 5.0, 10.0, 5.0, 2.5),
    }


def test_a_shape_is_names_lengths_and_nulls() -> None:
    """Answers of one shape take the same to write, whatever their values are."""
    one = {"nodes": [{"id": "a", "name": None}], "more": True}

    assert shape_of(one) == shape_of({"nodes": [{"id": "b", "name": None}], "more": False})
    for other in (
        {"nodes": [{"id": "a", "name": "x"}], "more": True},
        {"nodes": [], "more": True},
        {"nodes": [{"id": "a"}], "more": True},
    ):
        assert shape_of(one) != shape_of(other)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of an instance that has nothing yet."""
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    return Settings(_env_file=None)


async def test_all_layers_answer_alike(settings: Settings) -> None:
    """Each document at each address, over a connection that stays open, in one shape."""
    token = development_token(settings, DEVELOPER, HOUR_SECONDS)
    async with serving(layers(settings)) as url, connections(url, 1) as [kept]:
        for document in DOCUMENTS.values():
            bodies = [await kept.ask(posted(f"/{path}", document, token)) for path in LAYERS]
            shapes = [shape_of(data_of(body)) for body in bodies]
            assert shapes == [shapes[0]] * len(LAYERS)
        for path in ("tokens", "limits", "memory"):
            with pytest.raises(AnswerError, match="401 Unauthorized"):
                await kept.ask(posted(f"/{path}", DOCUMENTS["viewer"], "wrong"))
