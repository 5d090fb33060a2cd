"""Request bodies, no larger than they may be."""

from collections.abc import AsyncGenerator

from starlette.requests import Request

from services.errors import PayloadTooLargeError


def check_length(request: Request, limit: int) -> None:
    """Refuse by the announced length, before anything is read. Raises `PayloadTooLargeError`."""
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > limit:
        raise _too_large(limit)


async def read_body(request: Request, limit: int) -> bytes:
    """Read a body of at most `limit` bytes. Raises `PayloadTooLargeError`."""
    check_length(request, limit)
    return b"".join([chunk async for chunk in chunks(request, limit)])


async def chunks(request: Request, limit: int) -> AsyncGenerator[bytes, None]:
    """Pass a body on as it comes. Raises `PayloadTooLargeError` once it is over `limit`."""
    total = 0
    async for chunk in request.stream():
        total += len(chunk)
        if total > limit:
            raise _too_large(limit)
        if chunk:
            yield chunk


def _too_large(limit: int) -> PayloadTooLargeError:
    return PayloadTooLargeError(f"The body is over {limit} bytes.", limit=limit)
