"""Large blocks of memory, once they are freed."""

import subprocess
import sys

from app.allocator import LARGE_BYTES

MIB = 1024 * 1024
PROGRAM = f"""
import os, sys
from pathlib import Path
from app.allocator import return_large_blocks

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

if sys.argv[1] == "returned":
    assert return_large_blocks()
# One is freed, which is where the allocator changes its mind.
first = bytearray({4 * MIB})
del first
before = resident()
large, small = [], []
for _ in range(50):
    large.append(os.urandom({LARGE_BYTES}))
    small.append(os.urandom(20_000))
large.clear()
print(resident() - before)
"""


def kept(how: str) -> int:
    """Return how many bytes stay with a process that has freed fifty large blocks."""
    command = [sys.executable, "-c", PROGRAM, how]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def test_freed_blocks_go_back() -> None:
    """Small ones between them do not keep them, as they do where the allocator is as it comes."""
    assert kept("returned") < 8 * MIB < kept("as it comes")
