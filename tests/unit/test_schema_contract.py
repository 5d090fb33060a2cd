"""The served schema against the contract, and against what was committed."""

from pathlib import Path

import pytest

from app import schema_check
from app.schema_check import COPY, contract_breaches, differences
from app.schema_export import served_sdl

CONTRACT = COPY.read_text(encoding="utf-8")


def test_served_schema_is_committed_and_agreed() -> None:
    """What is served is what was committed, and all that was agreed is in it."""
    assert list(differences()) == []


def test_more_than_the_contract_is_no_breach() -> None:
    """A superset is what the contract asks for."""
    more = served_sdl() + "\ntype Further { id: ID! }\n"

    assert list(contract_breaches(CONTRACT, more)) == []


def test_changed_description_is_a_breach() -> None:
    """A comment that clients rely on can't be lost unseen."""
    served = served_sdl().replace("Null unless RUNNING.", "Maybe.")

    found = list(contract_breaches(CONTRACT, served))
    assert found
    assert all(line.startswith("DESCRIPTION_CHANGED: ") for line in found)


def test_changed_default_is_a_breach() -> None:
    """A default is part of the contract."""
    served = served_sdl().replace("after: Int! = 0", "after: Int! = 1")

    assert list(contract_breaches(CONTRACT, served))


def test_lost_field_is_a_breach() -> None:
    """A field keeps its place."""
    served = served_sdl().replace("statusReason: String", "reason: String")

    assert any("FIELD_REMOVED" in line for line in contract_breaches(CONTRACT, served))


def test_breach_of_the_committed_schema_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What clients may rely on beyond the contract can't be lost unseen either."""
    committed = tmp_path / "schema.graphql"
    further = "type Viewer {\n  further: String\n"
    committed.write_text(served_sdl().replace("type Viewer {\n", further), encoding="utf-8")
    monkeypatch.setattr(schema_check, "EXPORTED", committed)

    found = list(differences())
    assert len(found) == 2
    assert "schema_export" in found[0]
    assert "Field Viewer.further was removed" in found[1]


def test_addition_to_the_committed_schema_is_no_breach(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It only has to be committed."""
    committed = tmp_path / "schema.graphql"
    fewer = served_sdl().replace("  email: String\n", "")
    committed.write_text(fewer, encoding="utf-8")
    monkeypatch.setattr(schema_check, "EXPORTED", committed)

    assert len(list(differences())) == 1
