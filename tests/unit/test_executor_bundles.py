"""Mime bundles as they leave the sandbox."""

import json

import pytest

from services.executor.interpreter.bundles import BUNDLE_BYTES, fit

NOTE = "[not shown: "


def test_what_fits_is_as_it_was() -> None:
    """`text/plain` comes first, bytes as base64."""
    fitted = fit({"image/png": b"\x89PNG", "text/plain": "a picture", "a/b": {"c": [None]}})

    assert next(iter(fitted)) == "text/plain"
    assert fitted == {"text/plain": "a picture", "image/png": "iVBORw==", "a/b": {"c": [None]}}


@pytest.mark.parametrize(
    "large",
    [
        "x" * (BUNDLE_BYTES + 1),
        "\n" * (BUNDLE_BYTES // 2 + 1),
        "é" * (BUNDLE_BYTES // 2 + 1),
        b"x" * BUNDLE_BYTES,
        [0] * (BUNDLE_BYTES // 2),
    ],
    ids=["text", "escaped text", "wide text", "bytes", "list"],
)
def test_what_is_too_large_is_named(large: object) -> None:
    """By type and size, after the text that there is."""
    fitted = fit({"text/plain": "small", "a/large": large})

    assert set(fitted) == {"text/plain"}
    assert str(fitted["text/plain"]).startswith(f"small\n{NOTE}a/large of ")


def test_all_types_share_the_room() -> None:
    """The small ones are kept, whatever their order."""
    half = "x" * (BUNDLE_BYTES // 2)
    fitted = fit({"a/half": half, "b/half": half, "c/small": "s"})

    assert {"c/small", "text/plain"} < set(fitted)
    assert len(set(fitted)) == 3
    assert len(json.dumps(fitted)) <= BUNDLE_BYTES + 200


@pytest.mark.parametrize("odd", [object(), {1: object()}, {("a",): 1}])
def test_what_is_no_json_is_named(odd: object) -> None:
    """Instead of an error in the code that shows it."""
    assert fit({"application/json": odd}) == {
        "text/plain": f"{NOTE}application/json, for it is no JSON]"
    }


def test_a_circle_is_no_json() -> None:
    """Nor does it end the interpreter."""
    circle: list[object] = []
    circle.append(circle)

    assert fit({"a/circle": circle}) == {"text/plain": f"{NOTE}a/circle, for it is no JSON]"}
