"""Ports for processes that are told where to listen, before they do."""

import secrets
import socket
from contextlib import ExitStack
from pathlib import Path

EPHEMERAL_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
FIRST = 20_000
ATTEMPTS = 1_000


def free_port() -> int:
    """Return one such port; see `free_ports`."""
    return free_ports(1)[0]


def free_ports(count: int, host: str = "127.0.0.1") -> list[int]:
    """Return ports that nobody has just now, all different.

    They lie outside of the range from which the kernel gives ports away: in between, no client's
    connection and no listener on port 0 takes one.

    Raises:
        OSError: None was found.
    """
    end = int(EPHEMERAL_RANGE.read_text().split()[0])
    found: list[int] = []
    with ExitStack() as stack:
        for _ in range(ATTEMPTS):
            if len(found) == count:
                return found
            port = FIRST + secrets.randbelow(max(end - FIRST, ATTEMPTS))
            candidate = stack.enter_context(socket.socket())
            try:
                candidate.bind((host, port))
            except OSError:
                continue
            found.append(port)
    raise OSError(f"no {count} free ports on {host}")
