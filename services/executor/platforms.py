"""Which wheels run in an image: its platform, in uv's spelling."""

from collections.abc import Sequence

from services.executor.failures import InstallFailedError

MACHINES = ("x86_64", "aarch64")
MANYLINUX = (17, 28, *range(31, 41))
"""The glibc 2.x that uv 0.13 has names for; newer ones run older wheels too."""


def wheel_platform(machine: str, libc: Sequence[object]) -> str:
    """Name the platform of a machine and its C library, as `platform.libc_ver` tells it.

    Raises `InstallFailedError` where there are no wheels for it.
    """
    if machine not in MACHINES or len(libc) < 2 or libc[0] != "glibc":  # noqa: PLR2004
        msg = f"There are no wheels for this image ({machine}, {libc}): it needs glibc."
        raise InstallFailedError(msg)
    major, _, minor = str(libc[1]).partition(".")
    known = [one for one in MANYLINUX if minor.isdecimal() and one <= int(minor)]
    if major != "2" or not known:
        msg = f"There are no wheels for this image's C library {libc[1]!r}."
        raise InstallFailedError(msg)
    return f"{machine}-manylinux_2_{max(known)}"
