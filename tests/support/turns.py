"""Counts round trips between a client and a server on a unix socket."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path


class Turns:
    """How often the client has spoken after the server did."""

    def __init__(self) -> None:
        self.number = 0
        self._servers_turn = False

    async def relay(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, client: bool
    ) -> None:
        """Pass bytes on until one side closes."""
        while data := await source.read(65536):
            if client and not self._servers_turn:
                self.number += 1
            self._servers_turn = client
            sink.write(data)
            await sink.drain()
        sink.close()


@asynccontextmanager
async def counted(real: Path, relayed: Path) -> AsyncIterator[Turns]:
    """Relay one client at a time from one socket to another."""
    turns = Turns()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers, requests = await asyncio.open_unix_connection(real)
        async with asyncio.TaskGroup() as group:
            group.create_task(turns.relay(reader, requests, client=True))
            group.create_task(turns.relay(answers, writer, client=False))

    server = await asyncio.start_unix_server(serve, relayed)
    try:
        yield turns
    finally:
        server.close()
        await server.wait_closed()
