"""Collections of garbage in a process that has much that stays."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from app.collector import settled


class Ring:
    """Garbage that only a collection finds."""

    def __init__(self) -> None:
        self.itself = self


def dropped() -> "weakref.ref[Ring]":
    """Make one that nobody holds."""
    return weakref.ref(Ring())


@pytest.fixture
def unattended() -> Iterator[None]:
    """Have no collections but those that are asked for."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("unattended")
def test_what_is_there_is_not_looked_at_and_what_comes_is() -> None:
    """A whole collection passes over the one and frees the other; afterwards it frees both."""
    held = Ring()
    old = weakref.ref(held)
    with settled():
        frozen = gc.get_freeze_count()
        del held
        new = dropped()
        gc.collect()
        found = old() is None, new() is None
    gc.collect()

    assert frozen > 0
    assert found == (False, True)
    assert old() is None
    assert gc.get_freeze_count() < frozen
