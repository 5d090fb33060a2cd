"""How the C library's allocator treats large blocks of memory."""

import ctypes

LARGE_BYTES = 1024 * 1024
M_MMAP_THRESHOLD = -3
"""As `malloc.h` has it (mallopt(3))."""


def return_large_blocks() -> bool:
    """Have blocks of 1 MiB and more go back to the system as they are freed; say whether they do.

    glibc takes them from its heap instead once one was freed, and keeps what lies between
    smaller ones: one flood of large bodies would stay with the process. Idempotent.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:
        # Another C library, with habits of its own.
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, LARGE_BYTES))
