"""How the results of a subscription are written over HTTP: two formats, as clients ask for them.

Server-sent events in the distinct connections mode of graphql-sse, and Apollo's multipart
protocol for subscriptions (`subscriptionSpec=1.0`).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from strawberry.types import ExecutionResult

from app.json_text import encode
from app.negotiation import accepted

EVENT_STREAM_TYPE = "text/event-stream"
MULTIPART_TYPE = "multipart/mixed"
BOUNDARY = "graphql"

Answer = Mapping[str, object]
"""`data`, `errors` and `extensions` of one result."""


def answer_of(result: ExecutionResult) -> Answer:
    """Return what a client is told of one result."""
    answer: dict[str, object] = {"data": result.data}
    if result.errors:
        answer["errors"] = [error.formatted for error in result.errors]
    if never_began(answer):
        # As plain HTTP has it (GraphQL, section 7.1).
        del answer["data"]
    return answer


def never_began(answer: Answer) -> bool:
    """Whether the errors are from before the execution, and so of no field."""
    errors = answer.get("errors")
    if answer.get("data") is not None or not isinstance(errors, list):
        return False
    return all("path" not in error for error in errors)


@dataclass(frozen=True, slots=True)
class Wire:
    """One format; `start` is sent before all else."""

    media_type: str
    start: bytes
    heartbeat: bytes
    end: bytes
    before: bytes
    after: bytes
    wrapped: bool
    """Whether results stand in a `payload` of their own."""

    def result(self, answer: Answer) -> bytes:
        """Write one result."""
        return self.before + encode({"payload": answer} if self.wrapped else answer) + self.after


# Line ends are LF alone: urql parts events there.
EVENT_STREAM = Wire(
    media_type=f"{EVENT_STREAM_TYPE}; charset=utf-8",
    start=b":\n\n",
    heartbeat=b":\n\n",
    end=b"event: complete\ndata:\n\n",
    before=b"event: next\ndata: ",
    after=b"\n\n",
    wrapped=False,
)
_PART = f"\r\n--{BOUNDARY}".encode()
_HEAD = b"\r\nContent-Type: application/json; charset=utf-8\r\n\r\n"
# The delimiter comes with what it ends, so that a part can be read once it is whole.
MULTIPART = Wire(
    media_type=f'{MULTIPART_TYPE}; boundary="{BOUNDARY}"; subscriptionSpec=1.0',
    start=f"--{BOUNDARY}".encode(),
    heartbeat=_HEAD + b"{}" + _PART,
    end=b"--\r\n",
    before=_HEAD,
    after=_PART,
    wrapped=True,
)


def wire_for(accept: str | None) -> Wire | None:
    """Return the format of streams that an Accept header asks for; None where it asks for none."""
    for name, parameters in accepted(accept or ""):
        if name == EVENT_STREAM_TYPE:
            return EVENT_STREAM
        if name == MULTIPART_TYPE and parameters.get("subscriptionspec", "").startswith("1."):
            return MULTIPART
    return None
