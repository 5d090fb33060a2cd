"""Subscriptions over HTTP that have more than one event to read."""

import json
from collections.abc import AsyncIterator

from tests.support.api import Api

CHANGED = """subscription ($id: ID) {
    sandboxChanged(sandboxId: $id) { sandbox { name executions(first: 3) { nodes { stdout } } } }
}"""


async def events_of(lines: AsyncIterator[str]) -> AsyncIterator[dict[str, object]]:
    """Yield the results of a stream."""
    async for line in lines:
        if line.startswith("data: {"):
            yield json.loads(line.removeprefix("data: "))


async def test_every_event_of_a_stream_may_read(api: Api, sandbox: str) -> None:
    """What an event shows is read by the operation's budget, the second event's too."""
    call = {"query": CHANGED, "variables": {"id": sandbox}}
    accept = {"Accept": "text/event-stream"}
    async with api.http.stream("POST", "/graphql", json=call, headers=accept) as stream:
        events = events_of(stream.aiter_lines())
        shown = []
        for name in ("one", "two", "three"):
            changes = "sandbox { id }"
            await api.mutate("updateSandbox", changes, sandboxId=sandbox, name=name)
            shown.append(await anext(events))

    assert all("errors" not in event for event in shown), shown
