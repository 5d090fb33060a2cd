"""Whether a request comes from this machine, over addresses that lead nowhere else."""

import re
from collections.abc import Collection
from ipaddress import ip_address

import psutil
from starlette.requests import Request

_HOST = re.compile(r"(?:\[(?P<six>[\da-fA-F:.]+)\]|(?P<name>[\w.-]+))(?::\d{1,5})?", re.ASCII)
_OF_PROXIES = ("forwarded", "via", "x-real-ip")
_OF_PROXIES_BEGIN = "x-forwarded-"


def is_loopback(host: str) -> bool:
    """Whether a host, without a port, is `localhost` or an address in 127.0.0.0/8 or ::1."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def is_local(request: Request, listening: Collection[str]) -> bool:
    """Whether Host, peer and the addresses that the server listens at are all loopback.

    A page of another site whose name was made to lead here (DNS rebinding) shows in Host. A
    proxy on this machine is a loopback peer, so a request that any proxy has marked is not
    local, whatever the mark says.
    """
    peer = request.client.host if request.client else ""
    return (
        bool(listening)
        and all(is_loopback(each) for each in (_host(request), peer, *listening))
        and not _has_passed_a_proxy(request)
    )


def _host(request: Request) -> str:
    """Return the one Host without its port; empty where it is none, or several."""
    values = request.headers.getlist("host")
    match = _HOST.fullmatch(values[0]) if len(values) == 1 else None
    return (match["six"] or match["name"]) if match else ""


def _has_passed_a_proxy(request: Request) -> bool:
    # No browser asks by HTTP/1.0; nginx does, without a mark, where it is told nothing else.
    return request.scope["http_version"] == "1.0" or any(
        name in _OF_PROXIES or name.startswith(_OF_PROXIES_BEGIN) for name in request.headers
    )


def listening_addresses(request: Request) -> list[str]:
    """List where this process listens at the port that a request came to; none if that is unknown.

    The setting would not do: `uvicorn --host` overrules it, and a connection's own address is
    loopback even where its socket listens at 0.0.0.0.
    """
    server = request.scope.get("server")
    if server is None or server[1] is None:
        return []
    try:
        connections = psutil.Process().net_connections("tcp")
    except psutil.Error:
        return []
    return [
        each.laddr.ip
        for each in connections
        if each.status == psutil.CONN_LISTEN and each.laddr.port == server[1]
    ]
