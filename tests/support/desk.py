"""What a client's program asks the test that has started it: tokens, and a cut connection."""

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from uuid import UUID, uuid4

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from websockets.exceptions import ConnectionClosed

from tests.support.proxy import Proxy, proxy_to
from tests.support.serving import serving, socket
from tests.support.stack import Server, Stack
from tests.support.tokens import secret_of, sign, user_token

MAX_CONNECTIONS = 3
"""Few, so that one that is left behind is noticed."""


@dataclass(frozen=True)
class ClientDesk:
    """One user of one server, whose connections pass a proxy."""

    stack: Stack
    server: Server
    proxy: Proxy
    user: UUID
    url: str
    """The proxy's, to which the client connects."""

    def token(self, seconds: float) -> str:
        """Sign a token of the user's that is good for so long."""
        return sign(secret_of(self.stack), sub=str(self.user), exp=int(time.time() + seconds))

    def cut(self) -> None:
        """Lose the user's connections."""
        self.proxy.cut()

    async def released(self, held: int) -> bool:
        """Whether the server counts no more than `held` connections of the user's."""
        params = {"Authorization": f"Bearer {user_token(self.stack, self.user)}"}
        async with AsyncExitStack() as opened:
            for _ in range(MAX_CONNECTIONS - held):
                one = await opened.enter_async_context(socket(self.server.url, params=params))
                try:
                    await one.receive()
                except ConnectionClosed:
                    return False
        return True

    def app(self) -> Starlette:
        """Offer it over HTTP."""

        async def token(request: Request) -> Response:
            return PlainTextResponse(self.token(float(request.query_params["seconds"])))

        async def cut(_: Request) -> Response:
            self.cut()
            return Response()

        async def released(request: Request) -> Response:
            free = await self.released(int(request.query_params["held"]))
            return PlainTextResponse(str(free).lower())

        return Starlette(
            routes=[
                Route("/token", token, methods=["POST"]),
                Route("/cut", cut, methods=["POST"]),
                Route("/released", released, methods=["POST"]),
            ]
        )


@asynccontextmanager
async def open_desk(stack: Stack, server: Server) -> AsyncIterator[tuple[ClientDesk, str]]:
    """Serve a new user; yield the desk and its address."""
    async with proxy_to(server.url) as (proxy, url):
        desk = ClientDesk(stack, server, proxy, uuid4(), f"{url}/graphql")
        async with serving(desk.app()) as address:
            yield desk, address
