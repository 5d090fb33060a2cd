"""GraphiQL, from files of our own: no request leaves for another host."""

import asyncio
import html
from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike, stat_result
from pathlib import Path

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from app.loopback import is_local, listening_addresses
from ops.layout import REPOSITORY

BUILT = REPOSITORY / "web" / "dist"
STATIC_ROUTE = "/static"

_DIRECTIVES = (
    "default-src 'none'",
    "script-src 'self'",
    # The editor writes its styles into the page.
    "style-src 'self' 'unsafe-inline'",
    "img-src data:",
    "font-src 'self' data:",
    "worker-src 'self'",
    # The websocket too: CSP 3, section 6.7.2.8.
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
)
_HEADERS = {
    "Content-Security-Policy": "; ".join(_DIRECTIVES),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_PAGE_HEADERS = _HEADERS | {"Cache-Control": "no-store"}
# Their names change with their content.
_FILE_HEADERS = _HEADERS | {"Cache-Control": "public, max-age=31536000, immutable"}
_TOKEN_PLACE = "%TOKEN%"  # noqa: S105 - where one goes
_NOT_BUILT = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>GraphiQL has not been built</title>
<link rel="icon" href="data:,">
</head>
<body>
<h1>GraphiQL has not been built</h1>
<p>The API answers here all the same: POST operations to this address.</p>
<p>GraphiQL is built by <code>make setup</code>, which takes Node 18 or newer and installs
Debian's where there is none; what it could not do it says in its output. By hand:
<code>cd web &amp;&amp; npm ci &amp;&amp; npm run build</code>. Then reload this page.</p>
</body>
</html>
"""


@dataclass(frozen=True)
class Page:
    """The GraphiQL page of one checkout."""

    built: Path = BUILT
    make_token: Callable[[], str] | None = None
    """Signs a token for who asks from this machine; None where nobody gets one."""

    @property
    def files(self) -> "BuiltFiles":
        """What the page loads."""
        return BuiltFiles(directory=self.built / "static", check_dir=False)

    async def response(self, request: Request) -> Response:
        """Answer a browser; the page is read each time, so that a new build shows at once."""
        content = await asyncio.to_thread(self._content, request)
        return HTMLResponse(content, headers=_PAGE_HEADERS)

    def _content(self, request: Request) -> str:
        try:
            page = (self.built / "graphiql.html").read_text(encoding="utf-8")
        except FileNotFoundError:
            return _NOT_BUILT
        return page.replace(_TOKEN_PLACE, html.escape(self._token(request)))

    def _token(self, request: Request) -> str:
        if self.make_token is None or not _shows_a_page(request):
            return ""
        return self.make_token() if is_local(request, listening_addresses(request)) else ""


def _shows_a_page(request: Request) -> bool:
    """Whether a browser that tells why it asks does so to show the answer as a page.

    A script of another origin, even one that may call the API, gets no token that way.
    """
    return (
        "origin" not in request.headers
        and request.headers.get("sec-fetch-dest", "document") == "document"
    )


class BuiltFiles(StaticFiles):
    """Serves what a build has made, under the page's policy; workers are bound by it too."""

    async def check_config(self) -> None:
        """Start without a build: it may come later."""

    def file_response(
        self,
        full_path: str | PathLike[str],
        stat_result: stat_result,
        scope: Scope,
        status_code: int = 200,
    ) -> Response:
        """Answer with a file, which may be kept for good."""
        response = super().file_response(full_path, stat_result, scope, status_code)
        response.headers.update(_FILE_HEADERS)
        return response
