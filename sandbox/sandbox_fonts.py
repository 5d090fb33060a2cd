"""Gives matplotlib the font list that was made with the image, in a folder it may write.

Runs by `sandbox_fonts.pth` at the first start of Python in a container: matplotlib turns a
folder down that it can't write, and would make the list anew (0.3 s) in each sandbox.
"""

import contextlib
import os
import shutil

PREPARED = "/opt/matplotlib"

# No writable /tmp, or another process was first: matplotlib then helps itself.
with contextlib.suppress(OSError):
    shutil.copytree(PREPARED, os.environ["MPLCONFIGDIR"])
