"""The server that is attacked: a process of its own."""

from collections.abc import Iterator

import pytest

from tests.support.attacks import MIB, Record, target
from tests.support.inspected import FLOOD_CHARACTERS, PATIENCE_SECONDS, RECORD_CHARACTERS
from tests.support.stack import Server

FLOOD = 8 * MIB
"""Of output: more than the kernel's buffers take on both sides."""


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Services that answer from memory; no test ends it, and none is told in its log."""
    with target(tmp_path_factory.mktemp("target") / "log") as running:
        yield running


@pytest.fixture(scope="package")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The same with a second of patience for slow peers, and code that prints much."""
    variables = {PATIENCE_SECONDS: "1.0", FLOOD_CHARACTERS: str(FLOOD)}
    with target(tmp_path_factory.mktemp("hasty") / "log", **variables) as running:
        yield running


@pytest.fixture(scope="package")
def unhurried(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The same with the patience of service, and with much on the record too."""
    variables = {FLOOD_CHARACTERS: str(FLOOD), RECORD_CHARACTERS: str(12 * MIB)}
    with target(tmp_path_factory.mktemp("unhurried") / "log", **variables) as running:
        yield running


@pytest.fixture
def record(request: pytest.FixtureRequest) -> Record:
    """Report a figure of this test's: with `-rA`, and in the JUnit report."""

    def record(name: str, value: object) -> None:
        request.node.user_properties.append((name, value))
        request.node.add_report_section("call", "figures", f"{name}: {value}")

    return record
