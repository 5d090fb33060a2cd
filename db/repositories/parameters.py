"""Parameters of statements that are built once: to build one anew takes longer than to send it."""

from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BindParameter,
    ColumnElement,
    Integer,
    Uuid,
    any_,
    bindparam,
    tuple_,
)
from sqlalchemy.orm import Mapped
from sqlmodel import col

from db.repositories.slices import Position
from db.tables import TIMESTAMP, ExecutionRow, SandboxRow

_ONE: Final[BindParameter[UUID]] = bindparam("one", type_=Uuid())
IDS: Final[BindParameter[Any]] = bindparam("ids", type_=ARRAY(Uuid()))
"""Sent as a list: of any length it is the same statement."""
MOST: Final[BindParameter[int]] = bindparam("most", type_=Integer())
"""How many rows a page's statement returns at most."""


def is_one(column: Mapped[UUID]) -> ColumnElement[bool]:
    """Whether a column has the id that is sent as `one`."""
    return column == _ONE


def among(column: Mapped[UUID]) -> ColumnElement[bool]:
    """Whether a column has one of `IDS`."""
    return column == any_(IDS)


def newest_first(row: type[ExecutionRow | SandboxRow]) -> tuple[ColumnElement[Any], ...]:
    """Order by age."""
    return col(row.created_at).desc(), col(row.id).desc()


def is_older(row: type[ExecutionRow | SandboxRow]) -> ColumnElement[bool]:
    """Whether a row comes after the position that a page's statement is sent with."""
    position = bindparam("after_time", type_=TIMESTAMP), bindparam("after_id", type_=Uuid())
    return tuple_(col(row.created_at), col(row.id)) < tuple_(*position)


def of_page(most: int, after: Position | None, **others: object) -> Mapping[str, object]:
    """Return what a page's statement is sent with."""
    place = {} if after is None else {"after_time": after[0], "after_id": after[1]}
    return {"most": most, **place, **others}
