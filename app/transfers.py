"""Signed transfers of one file: GET and HEAD download, PUT uploads; no token but the address.

What a sandbox holds is not to be trusted: it is always an attachment, of no type, in a
browser's sandbox, so that it never runs as a page of the API's origin.
"""

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import ExitStack, aclosing
from http import HTTPStatus
from urllib.parse import quote

import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from app.backend import BackendHolder
from app.bodies import chunks
from app.in_flight import InFlight
from app.ranges import ByteRange, UnsatisfiableRangeError, parse_range
from app.writing import PIECE_BYTES
from services.downloads import Download
from services.errors import (
    BadUserInputError,
    ConflictError,
    ForbiddenError,
    NotFoundError,
    PayloadTooLargeError,
    QuotaExceededError,
    ServiceError,
    ServiceUnavailableError,
)
from services.limits import TRANSFER_CHUNK_BYTES

_log = structlog.get_logger(__name__)

_STATUS: Mapping[type[ServiceError], HTTPStatus] = {
    BadUserInputError: HTTPStatus.BAD_REQUEST,
    ForbiddenError: HTTPStatus.FORBIDDEN,
    NotFoundError: HTTPStatus.NOT_FOUND,
    ConflictError: HTTPStatus.CONFLICT,
    PayloadTooLargeError: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    QuotaExceededError: HTTPStatus.TOO_MANY_REQUESTS,
    ServiceUnavailableError: HTTPStatus.SERVICE_UNAVAILABLE,
}
HELD_BYTES = 2 * TRANSFER_CHUNK_BYTES
"""Of a download under way: a chunk on its way from the sandbox, and what waits to be taken."""
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "sandbox",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Transfers:
    """Answers /files/{signature}."""

    def __init__(self, holder: BackendHolder, in_flight: InFlight) -> None:
        self._holder = holder
        self._in_flight = in_flight

    async def serve(self, request: Request) -> Response:
        """Move one file's bytes, in the direction that the address was signed for."""
        try:
            if request.method == "PUT":
                return await self._upload(request)
            return await self._download(request)
        except ServiceError as error:
            status = _STATUS.get(type(error), HTTPStatus.INTERNAL_SERVER_ERROR)
            answer = {"code": error.code.value, "message": error.message, **error.extensions}
            return JSONResponse(answer, status, headers=_HEADERS)

    async def _download(self, request: Request) -> Response:
        files = self._holder.backend.services.files
        download = await files.open_download(request.path_params["signature"])
        headers = _file_headers(download)
        try:
            part = parse_range(_range_header(request, headers["ETag"]), download.size_bytes)
        except UnsatisfiableRangeError:
            headers["Content-Range"] = f"bytes */{download.size_bytes}"
            return Response(None, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, headers)
        status = HTTPStatus.OK
        if part is None:
            part = ByteRange(0, download.size_bytes)
        else:
            status = HTTPStatus.PARTIAL_CONTENT
            last = part.offset + part.length - 1
            headers["Content-Range"] = f"bytes {part.offset}-{last}/{download.size_bytes}"
        headers["Content-Length"] = str(part.length)
        if request.method == "HEAD":
            return Response(None, status, headers)
        with ExitStack() as stack:
            stack.enter_context(self._in_flight.hold(download.owner))(HELD_BYTES)
            content = _bytes(download, part)
            return _FileResponse(content, status, headers, on_end=stack.pop_all().close)

    async def _upload(self, request: Request) -> Response:
        announced = request.headers.get("content-length", "")
        length = int(announced) if announced.isdecimal() else None
        files = self._holder.backend.services.files
        try:
            async with aclosing(chunks(request)) as body:
                entry = await files.receive_upload(request.path_params["signature"], length, body)
        except ClientDisconnect:
            headers = {**_HEADERS, "Connection": "close"}
            return Response(None, HTTPStatus.REQUEST_TIMEOUT, headers)
        answer = {"path": entry.path, "sizeBytes": entry.size_bytes}
        return JSONResponse(answer, HTTPStatus.CREATED, headers=_HEADERS)


async def _bytes(download: Download, part: ByteRange) -> AsyncGenerator[bytes, None]:
    """Pass the bytes on; a fault after the headers can only cut the connection short."""
    try:
        async with aclosing(download.chunks(part.offset, part.length)) as parts:
            async for each in parts:
                for start in range(0, len(each), PIECE_BYTES):
                    yield each[start : start + PIECE_BYTES]
    except ServiceError as error:
        _log.warning("download_cut", code=error.code.value, reason=error.message)
        raise DownloadCutError from error


class _FileResponse(StreamingResponse):
    """A download, until it has been taken or left."""

    def __init__(
        self,
        content: AsyncGenerator[bytes, None],
        status: HTTPStatus,
        headers: Mapping[str, str],
        *,
        on_end: Callable[[], None],
    ) -> None:
        """Call `on_end` once nothing of it is kept any more."""
        super().__init__(content, status, headers)
        self._on_end = on_end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._on_end()


class DownloadCutError(Exception):
    """A download ended early; the client sees fewer bytes than were announced."""


def _range_header(request: Request, etag: str) -> str | None:
    condition = request.headers.get("if-range")
    if condition is not None and condition != etag:
        return None
    return request.headers.get("range")


def _file_headers(download: Download) -> dict[str, str]:
    return {
        **_HEADERS,
        "Accept-Ranges": "bytes",
        "Content-Disposition": disposition(download.name),
        "Content-Type": "application/octet-stream",
        "ETag": f'"{download.version}"',
    }


def disposition(name: str) -> str:
    """Name an attachment (RFC 6266), in ASCII and as it is (RFC 5987)."""
    plain = "".join(
        character
        if character.isascii() and character.isprintable() and character not in '"\\%'
        else "_"
        for character in name
    )
    exact = quote(name.encode("utf-8", "replace"), safe="")
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{exact}"
