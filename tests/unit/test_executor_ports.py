"""Ports that are given to processes before they listen."""

import socket

from services.executor.ports import EPHEMERAL_RANGE, FIRST, free_port, free_ports


def test_they_are_free_and_different() -> None:
    """Each can be listened on, all at once."""
    ports = free_ports(5)
    listeners = [socket.create_server(("127.0.0.1", port)) for port in ports]
    for listener in listeners:
        listener.close()

    assert len(set(ports)) == 5


def test_the_kernel_gives_none_of_them_away() -> None:
    """A connection that another process makes meanwhile can't take one."""
    end = int(EPHEMERAL_RANGE.read_text().split()[0])

    assert end > FIRST
    assert all(FIRST <= free_port() < end for _ in range(100))


def test_a_taken_one_is_passed_over() -> None:
    """One that is listened on is not given out."""
    [taken] = free_ports(1)
    with socket.create_server(("127.0.0.1", taken)):
        assert taken not in free_ports(50)
