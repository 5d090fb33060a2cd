"""GraphiQL, from files of our own: no request leaves for another host."""

from dataclasses import dataclass
from pathlib import Path

from starlette.responses import HTMLResponse, Response

from ops.layout import REPOSITORY

BUILT = REPOSITORY / "web" / "dist"
STATIC_ROUTE = "/static"

_DIRECTIVES = (
    "default-src 'none'",
    "script-src 'self'",
    # The editor writes its styles into the page.
    "style-src 'self' 'unsafe-inline'",
    "img-src 'self' data:",
    "font-src 'self' data:",
    "worker-src 'self' blob:",
    # Browsers differ about whether 'self' means the websocket too.
    "connect-src 'self' ws: wss:",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
)
_HEADERS = {
    "Content-Security-Policy": "; ".join(_DIRECTIVES),
    "Cache-Control": "no-cache",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_NOT_BUILT = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>GraphiQL</title>
<p>The API answers here. GraphiQL has not been built: with Node 18 or newer,
<code>make setup</code> does it, and so does <code>cd web &amp;&amp; npm ci &amp;&amp; npm run
build</code>; then start the API again.</p></html>
"""


@dataclass(frozen=True)
class Page:
    """The GraphiQL page of one checkout."""

    built: Path = BUILT

    @property
    def static(self) -> Path | None:
        """The folder of built files; None where nothing has been built."""
        return self.built if self.index.is_file() else None

    @property
    def index(self) -> Path:
        """The page itself."""
        return self.built / "graphiql.html"

    def response(self) -> Response:
        """Answer a browser; the page is read each time, so that a new build shows at once."""
        try:
            content = self.index.read_text(encoding="utf-8")
        except FileNotFoundError:
            content = _NOT_BUILT
        return HTMLResponse(content, headers=_HEADERS)
