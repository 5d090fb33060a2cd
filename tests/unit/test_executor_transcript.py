"""What is kept of an execution for its record."""

import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.executor.messages import DisplayData
from services.executor.stopwatch import Stopwatch
from services.executor.transcript import (
    RESULTS_BYTES,
    RESULTS_COUNT,
    Decoder,
    HeadTail,
    Results,
)


@given(st.lists(st.text(max_size=30), max_size=40), st.integers(0, 40), st.integers(1, 40))
def test_a_long_text_keeps_its_beginning_and_its_end(
    parts: list[str], head: int, tail: int
) -> None:
    """Up to its bound a text is whole; over it, head and tail are exact and it says so."""
    kept = HeadTail(head, tail)
    for part in parts:
        kept.add(part)
    text = "".join(parts)

    if len(text) <= head + tail:
        assert kept.text == text
        assert not kept.truncated
    else:
        assert kept.truncated or kept.text == text
        assert kept.text.startswith(text[:head])
        assert kept.text.endswith(text[-tail:])


def test_a_flood_of_text_takes_bounded_memory() -> None:
    """However much is added, no more than head and twice the tail is held."""
    kept = HeadTail(1000, 1000)
    tracemalloc.start()
    for _ in range(2000):
        kept.add("x" * 1000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert kept.weight <= 5000
    assert peak < 100_000


@pytest.mark.parametrize("character", ["x", "é", "\N{EURO SIGN}", "\N{PILE OF POO}"])
def test_weight_is_memory(character: str) -> None:
    """What is kept weighs what it takes, which is up to four bytes a character."""
    kept = HeadTail(100_000, 100_000)
    tracemalloc.start()
    for _ in range(300):
        kept.add(character * 1000)
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert 0.8 * taken < kept.weight < 1.2 * taken


@given(st.text(max_size=50), st.data())
def test_characters_are_whole_wherever_the_bytes_are_cut(text: str, data: st.DataObject) -> None:
    """UTF-8 cut at any byte decodes to the same text."""
    raw = text.encode("utf-8", "replace")
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=8)))
    decoder = Decoder()
    edges = [0, *cuts, len(raw)]
    pieces = [raw[start:stop] for start, stop in pairwise(edges)]

    decoded = "".join(decoder.feed(piece) for piece in pieces) + decoder.finish()
    assert decoded == raw.decode()


@given(st.binary(max_size=60), st.integers(0, 60))
def test_bytes_that_are_no_text_are_shown_as_such(raw: bytes, cut: int) -> None:
    """Invalid bytes become U+FFFD, the same wherever the chunk ends."""
    decoder = Decoder()

    decoded = decoder.feed(raw[:cut]) + decoder.feed(raw[cut:]) + decoder.finish()
    assert decoded == raw.decode("utf-8", "replace")


def test_an_unfinished_character_ends_with_the_stream() -> None:
    """Half a character at the end is one U+FFFD, and the decoder begins anew after it."""
    decoder = Decoder()

    assert decoder.feed("é".encode()[:1]) == ""
    assert decoder.finish() == "\ufffd"
    assert decoder.feed(b"a") == "a"


def show(text: str, display_id: str | None = None) -> DisplayData:
    """Make a display."""
    return DisplayData({"text/plain": text}, is_result=False, display_id=display_id)


def test_displays_are_kept_up_to_a_number_and_a_size() -> None:
    """What is over either bound is left out, and the record says that something is."""
    many, large = Results(), Results()
    for number in range(RESULTS_COUNT + 1):
        many.add(show(str(number)), 1)
    large.add(show("a"), RESULTS_BYTES)
    large.add(show("b"), 1)

    assert len(many.kept) == RESULTS_COUNT
    assert many.truncated
    assert [one.bundle["text/plain"] for one in large.kept] == ["a"]
    assert large.truncated


def test_a_display_that_is_updated_keeps_its_place() -> None:
    """A display with a known id replaces the earlier one, in size as well."""
    results = Results()
    results.add(show("first", "one"), 100)
    results.add(show("other"), 10)
    results.add(show("second", "one"), 300)

    assert [one.bundle["text/plain"] for one in results.kept] == ["second", "other"]
    assert results.weight == 310
    assert not results.truncated


def test_updates_can_not_grow_a_record_without_bound() -> None:
    """Small displays that are updated with large content count with what they became."""
    results = Results()
    for number in range(20):
        results.add(show("small", str(number)), 5)
    for number in range(20):
        results.add(show("large", str(number)), RESULTS_BYTES // 2)

    assert results.weight <= RESULTS_BYTES
    assert results.truncated
    assert sum(one.bundle["text/plain"] == "large" for one in results.kept) <= 2


def test_a_stopwatch_leaves_out_its_pauses() -> None:
    """Overlapping pauses count once; elapsed time counts them all."""
    watch = Stopwatch()
    assert watch.seconds == watch.elapsed == 0.0
    watch.start()
    watch.pause()
    watch.pause()
    watch.resume()
    paused = watch.seconds
    assert watch.seconds == paused
    watch.resume()

    assert watch.elapsed >= watch.seconds >= paused
