"""A Supabase project's key set, served on loopback."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

from tests.support.issuers import KeyPair, key_set

PATH = "/auth/v1/.well-known/jwks.json"


@dataclass
class KeyServer:
    """What is published now; `None` for the keys answers as a broken server does."""

    url: str
    keys: tuple[KeyPair, ...] | None = ()
    asked: list[str] = field(default_factory=list)

    @property
    def issuer(self) -> str:
        """The `iss` of the project's tokens."""
        return f"{self.url}/auth/v1"

    def document(self, path: str) -> bytes | None:
        """Answer a request."""
        self.asked.append(path)
        if path != PATH or self.keys is None:
            return None
        return key_set(*(key.published for key in self.keys))


@contextmanager
def key_server(*keys: KeyPair) -> Iterator[KeyServer]:
    """Have a server for the length of a block."""

    class Handler(BaseHTTPRequestHandler):
        served: ClassVar[KeyServer]

        def do_GET(self) -> None:
            document = self.served.document(self.path)
            self.send_response(500 if document is None else 200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(document or b"<html>broken</html>")

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Handler.served = KeyServer(f"http://127.0.0.1:{server.server_port}", keys)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield Handler.served
        finally:
            server.shutdown()
            thread.join()
