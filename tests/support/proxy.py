"""A way to a server that a test can cut, as a network does."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

PIECE_BYTES = 65536


class Proxy:
    """Passes bytes on between its clients and one server."""

    def __init__(self, host: str, port: int) -> None:
        """Name the server; nothing is listened at yet."""
        self._host = host
        self._port = port
        self._open: set[asyncio.StreamWriter] = set()

    def cut(self) -> None:
        """Lose every connection at once, without a word; new ones are taken."""
        for writer in self._open:
            writer.transport.abort()

    async def serve(
        self, from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter
    ) -> None:
        """Pass on what either side sends until one of them has left."""
        from_server, to_server = await asyncio.open_connection(self._host, self._port)
        ends = {to_client, to_server}
        self._open |= ends
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_pass_on(from_client, to_server))
                group.create_task(_pass_on(from_server, to_client))
        finally:
            self._open -= ends
            for writer in ends:
                writer.transport.abort()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while piece := await reader.read(PIECE_BYTES):
            writer.write(piece)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        # The other direction ends with this one.
        writer.close()


@asynccontextmanager
async def proxy_to(url: str) -> AsyncIterator[tuple[Proxy, str]]:
    """Stand before the server at `url`; yield the proxy and its own address."""
    target = urlsplit(url)
    proxy = Proxy(target.hostname or "127.0.0.1", target.port or 80)
    tasks: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(proxy.serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    async with await asyncio.start_server(accept, "127.0.0.1", 0) as server:
        yield proxy, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        server.close()
        proxy.cut()
        await asyncio.gather(*tasks, return_exceptions=True)
