"""What crosses Ray arrives as it was sent."""

import dataclasses
import enum
import inspect
import pickle
import types
import typing
from typing import Any

import pytest

from services.executor import errors, failures, messages

MESSAGES = [
    kind
    for _, kind in inspect.getmembers(messages, inspect.isclass)
    if dataclasses.is_dataclass(kind) and kind.__module__ == messages.__name__
]
ERRORS = [
    kind
    for module in (errors, failures)
    for _, kind in inspect.getmembers(module, inspect.isclass)
    if issubclass(kind, errors.ExecutorError)
]


def example(hint: Any) -> Any:  # noqa: ANN401 # of any type
    """Return a value of a type, no field at its default where that can be."""
    origin = typing.get_origin(hint)
    if origin is types.UnionType or origin is typing.Union:
        return example(next(one for one in typing.get_args(hint) if one is not type(None)))
    if origin is tuple:
        return (example(typing.get_args(hint)[0]),) * 2
    if origin is dict:
        return {"text/plain": "é\ud800", "n": [1, None, {"x": 2.5}]} if hint else {}
    if inspect.isclass(hint) and issubclass(hint, enum.Enum):
        return list(hint)[-1]
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return build(hint)
    simple = {str: "text", int: 7, float: 1.5, bool: True, bytes: b"\x00\xff", object: None}
    return simple[hint]


def build(kind: type) -> Any:  # noqa: ANN401 # one of the messages
    """Make a message with every field filled."""
    hints = typing.get_type_hints(kind)
    return kind(**{one.name: example(hints[one.name]) for one in dataclasses.fields(kind)})


@pytest.mark.parametrize("kind", MESSAGES, ids=lambda kind: kind.__name__)
def test_a_message_survives_the_way(kind: type) -> None:
    """Every message is equal after pickling, and can't be changed after it is made."""
    message = build(kind)
    copy = pickle.loads(pickle.dumps(message))  # noqa: S301 # what is tested

    assert copy == message
    assert copy is not message
    assert type(copy) is kind
    name = dataclasses.fields(kind)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(message, name, None)


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_an_error_survives_the_way(kind: type[errors.ExecutorError]) -> None:
    """Every condition keeps its class, its words and its details."""
    error = kind("Do this.", limit=32, status="RUNNING")
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 # what is tested

    assert type(copy) is kind
    assert (copy.message, str(copy)) == ("Do this.", "Do this.")
    assert copy.details == {"limit": 32, "status": "RUNNING"}


def test_there_are_messages_and_errors() -> None:
    """The lists above are not empty by mistake."""
    assert {messages.SessionSpec, messages.Gap, messages.FileRange} <= set(MESSAGES)
    assert {errors.NoCapacityError, failures.InstallTimedOutError} <= set(ERRORS)


@pytest.mark.parametrize("status", messages.ExecutionStatus)
def test_a_status_that_ended_is_final(status: messages.ExecutionStatus) -> None:
    """Only QUEUED and RUNNING can be followed by another."""
    assert status.ended == (status.value not in {"QUEUED", "RUNNING"})


@pytest.mark.parametrize(("on_record", "values"), [(True, 6), (False, 7)])
def test_actors_of_before_understand_what_is_on_record(on_record: bool, values: int) -> None:  # noqa: FBT001 - a parameter
    """They know no `on_record`, and are never given what is not."""
    request = messages.ExecuteRequest("id", "code", 1.0, {"A": "b"}, on_record=on_record)
    _, given = request.__reduce__()

    assert len(given) == values
    assert pickle.loads(pickle.dumps(request)) == request  # noqa: S301 - our own
