"""A stream's end where the server has not been told that its client has gone."""

import asyncio
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from starlette.types import Message
from structlog.testing import capture_logs

from app import graphql_streams
from app.graphql_streams import StreamResponse
from app.in_flight import InFlight
from app.wires import EVENT_STREAM
from tests.support.stub_services import viewer


async def test_a_heartbeat_that_nobody_takes_ends_the_stream(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What was waited for is closed, the place is given back, and nothing is an error."""
    monkeypatch.setattr(graphql_streams, "HEARTBEAT_SECONDS", 0.01)
    ends: list[str] = []

    async def silence() -> AsyncGenerator[object, None]:
        try:
            await asyncio.Event().wait()
            yield None
        finally:
            ends.append("results")

    async def opened() -> AsyncGenerator[object, None]:
        return silence()

    async def receive() -> Message:
        await asyncio.Event().wait()
        return {"type": "http.disconnect"}

    bodies: list[object] = []

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            if bodies:
                raise OSError
            bodies.append(message["body"])

    response = StreamResponse(
        EVENT_STREAM,
        opened,
        expires_at=datetime.now(UTC) + timedelta(minutes=1),
        stopping=asyncio.Event(),
        hold=partial(InFlight().hold, viewer().id),
        on_end=lambda: ends.append("place"),
    )
    with capture_logs() as logs:
        async with asyncio.timeout(5):
            await response({"type": "http"}, receive, send)

    assert ends == ["results", "place"]
    assert logs == []
