"""Queries a second: plain Strawberry, and each layer that our API puts over it.

All in turn in one run, by one client, over connections that stay open.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from statistics import median
from urllib.parse import urlsplit

from app.demo import Client
from bench.graphql import DELETE, opened
from bench.keepalive import KeptConnection, connections, data_of, posted
from bench.plain import SANDBOXES
from bench.processes import loop_seconds

DOCUMENTS: Mapping[str, str] = {
    "viewer": "{ viewer { id email role } }",
    "sandboxes(first: 20)": """query Sandboxes { sandboxes(first: 20) {
        nodes { id name status statusReason image metadata createdAt updatedAt startedAt expiresAt
            limits { memoryBytes cpus } }
        pageInfo { hasNextPage endCursor } } }""",
}
LAYERS: Mapping[str, str] = {
    "plain": "plain Strawberry",
    "cached": "its own caches of documents",
    "tokens": "our tokens",
    "limits": "our endpoint, checks and limits",
    "memory": "our types and resolvers",
}
"""The names of what `bench.layers` serves; each has what the ones before it have."""
REAL = "our services and database"
CREATE = """mutation { createSandbox(input: {name: "bench", metadata: {team: "bench"}}) {
    sandbox { id } } }"""
AT_ONCE = 8
"""Connections that ask without a pause."""
TURN_SECONDS = 0.12
ROUNDS = 14
"""With twelve subjects they take 20 s."""
WARM_UPS = 20


@dataclass(slots=True)
class Asked:
    """One document at one address, and how often it was answered."""

    layer: str
    document: str
    request: bytes
    kept: Sequence[KeptConnection]
    process: int
    rates: list[float] = field(default_factory=list)
    answered: int = 0
    cpu_seconds: float = 0.0

    @property
    def cpu_each(self) -> float:
        """Seconds of processor time that one answer took."""
        return self.cpu_seconds / self.answered

    async def turn(self, seconds: float) -> None:
        """Ask for so long over all connections at once."""
        cpu, began = loop_seconds(self.process), time.perf_counter()
        counts = await asyncio.gather(*(self._ask(each, began + seconds) for each in self.kept))
        taken = time.perf_counter() - began
        self.cpu_seconds += loop_seconds(self.process) - cpu
        self.answered += sum(counts)
        self.rates.append(sum(counts) / taken)

    async def _ask(self, connection: KeptConnection, until: float) -> int:
        count = 0
        while time.perf_counter() < until:
            await connection.ask(self.request)
            count += 1
        return count


async def queries(
    layers: tuple[str, int], api: tuple[str, int], token: str
) -> dict[str, dict[str, dict[str, float]]]:
    """Return, by document and layer, the queries a second and how they compare.

    `layers` and `api` are websocket addresses and processes of the servers.
    """
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(opened(api[0], token))
        made = [await _sandbox(client) for _ in range(SANDBOXES)]
        try:
            asked = await _subjects(stack, layers, api, token)
            await _measure(asked)
        finally:
            for sandbox in made:
                await client.result(DELETE, {"id": sandbox})
    return {
        document: compared([each for each in asked if each.document == document])
        for document in DOCUMENTS
    }


async def _sandbox(client: Client) -> str:
    made = await client.result(CREATE)
    return str(made["createSandbox"]["sandbox"]["id"])


async def _subjects(
    stack: AsyncExitStack, layers: tuple[str, int], api: tuple[str, int], token: str
) -> list[Asked]:
    addresses = [(name, f"/{path}", layers) for path, name in LAYERS.items()]
    found = []
    for name, path, (url, process) in [*addresses, (REAL, urlsplit(api[0]).path, api)]:
        kept = await stack.enter_async_context(connections(url, AT_ONCE))
        for document, query in DOCUMENTS.items():
            request = posted(path, query, token)
            found.append(Asked(name, document, request, kept, process))
    return found


async def _measure(asked: Sequence[Asked]) -> None:
    """See that all answer alike, then measure them in turn, back and forth."""
    shapes: dict[str, object] = {}
    for each in asked:
        answers = [await each.kept[0].ask(each.request) for _ in range(WARM_UPS)]
        shape = shape_of(data_of(answers[-1]))
        if shapes.setdefault(each.document, shape) != shape:
            raise RuntimeError(f"{each.layer} answers {each.document} in another shape: {shape}")
    for number in range(ROUNDS):
        for each in asked if number % 2 == 0 else reversed(asked):
            await each.turn(TURN_SECONDS)


def shape_of(value: object) -> object:
    """Return the names and lengths of an answer without its values."""
    if isinstance(value, dict):
        return {name: shape_of(inside) for name, inside in value.items()}
    if isinstance(value, list):
        return [shape_of(inside) for inside in value]
    return type(value).__name__ if value is None or isinstance(value, bool) else "value"


def compared(layers: Sequence[Asked]) -> dict[str, dict[str, float]]:
    """Put each layer over the first and over the one before it.

    By the queries a second round by round, and by the processor time of the server's loop,
    which others on the machine disturb less.
    """
    found, first, before = {}, layers[0], layers[0]
    for each in layers:
        found[each.layer] = {
            "a second": round(median(each.rates), 1),
            "over plain": ratio(first.rates, each.rates),
            "CPU ms": round(each.cpu_each * 1000, 3),
            "CPU over plain": round(each.cpu_each / first.cpu_each, 2),
            "CPU over the one before": round(each.cpu_each / before.cpu_each, 2),
        }
        before = each
    return found


def ratio(rates: Sequence[float], slower: Sequence[float]) -> float:
    """Return how many times as long the second takes, in the middle one of all rounds."""
    return round(median(one / other for one, other in zip(rates, slower, strict=True)), 2)
