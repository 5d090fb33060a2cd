"""Which requests come from this machine alone."""

import pytest
from starlette.requests import Request

from app.loopback import is_local, is_loopback

HERE = "127.0.0.1"
BROWSER = {"host": "127.0.0.1:8000", "accept": "text/html"}


def request(
    headers: dict[str, str] | list[tuple[str, str]], *, peer: str | None = HERE, http: str = "1.1"
) -> Request:
    """Make a request as a server hands it on."""
    pairs = headers.items() if isinstance(headers, dict) else headers
    return Request(
        {
            "type": "http",
            "http_version": http,
            "headers": [(name.encode(), value.encode()) for name, value in pairs],
            "client": None if peer is None else (peer, 40_000),
        }
    )


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1:8000", "127.0.0.1", "localhost:8000", "LocalHost", "127.1.2.3:80", "[::1]:8000"],
)
@pytest.mark.parametrize("peer", ["127.0.0.1", "127.0.0.2", "::1"])
@pytest.mark.parametrize("listening", [["127.0.0.1"], ["127.0.0.1", "::1"]])
def test_loopback_alone(host: str, peer: str, listening: list[str]) -> None:
    """Where Host, peer and each address that is listened at are loopback, it is local."""
    assert is_local(request({"host": host}, peer=peer), listening)


@pytest.mark.parametrize(
    "peer", ["192.0.2.7", "10.0.0.1", "fe80::1", "localhost.example", "", None]
)
def test_a_peer_elsewhere(peer: str | None) -> None:
    """A peer at another address is not, nor one that is not known, as at a Unix socket."""
    assert not is_local(request(BROWSER, peer=peer), [HERE])


@pytest.mark.parametrize(
    "listening",
    [
        ["0.0.0.0"],  # noqa: S104 - nothing is bound
        ["::"],
        ["192.0.2.7"],
        ["127.0.0.1", "192.0.2.7"],
        [],
    ],
)
def test_a_server_that_others_reach(listening: list[str]) -> None:
    """One address that others reach is enough; so is not to know any."""
    assert not is_local(request(BROWSER), listening)


@pytest.mark.parametrize(
    "host",
    [
        "rebound.example:8000",
        "127.0.0.1.rebound.example",
        "localhost.rebound.example",
        "127.0.0.1@rebound.example",
        "rebound.example/127.0.0.1",
        "localhost.",
        "localhost, rebound.example",
        "192.0.2.7:8000",
        "0.0.0.0:8000",
        "[::]:8000",
        "2130706433",
        "127.1",
        "127.0.0.1:8000:8000",
        "",
    ],
)
def test_a_host_of_another_name(host: str) -> None:
    """A name that was made to lead here, and whatever is no plain loopback host, is not."""
    assert not is_local(request({"host": host}), [HERE])


@pytest.mark.parametrize("headers", [[], [("host", "localhost"), ("host", "rebound.example")]])
def test_no_host_or_several(headers: list[tuple[str, str]]) -> None:
    """Host has to be there once."""
    assert not is_local(request(headers), [HERE])


@pytest.mark.parametrize(
    "name",
    ["x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "forwarded", "via", "x-real-ip"],
)
def test_a_proxy_on_this_machine(name: str) -> None:
    """What a proxy has marked is somebody else's, even where the mark names this machine."""
    assert not is_local(request(BROWSER | {name: HERE}), [HERE])


def test_a_proxy_that_says_nothing() -> None:
    """HTTP/1.0 is no browser's: nginx speaks it to what is behind it."""
    assert is_local(request(BROWSER), [HERE])
    assert not is_local(request(BROWSER, http="1.0"), [HERE])


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.255.255.254", True), ("::1", True), ("128.0.0.1", False), ("localhost4", False)],
)
def test_loopback_hosts(host: str, loopback: bool) -> None:  # noqa: FBT001 - cases
    """The whole of 127.0.0.0/8 is loopback, of IPv6 one address, of names one."""
    assert is_loopback(host) is loopback
