"""Settings of a process that only runs this package: a command, or a worker of one.

They are process-wide, so the library does not change them in processes of others. Nothing heavy is
imported here: a command applies them before PyTorch is loaded.
"""

from __future__ import annotations

import ctypes
import gc
import os
import platform
import sys
import warnings

# The number of new objects that triggers a garbage collection; Python's default is 700.
GARBAGE_AFTER = 100_000
# From glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3


def set_up_process() -> None:
    """Apply all settings of this module. To be called before PyTorch is imported."""
    # By default OpenMP threads wait by spinning. On a busy machine they occupy the cores that the
    # awaited thread needs: a training step took 4 to 17 times as long.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    keep_memory()
    if not sys.warnoptions:  # Errors are one line, without warnings of libraries around them.
        warnings.simplefilter("ignore")
    # PyTorch creates half a million objects that live until the end. Collecting garbage among them
    # takes half a second during the import, and half a second at exit (see gc.freeze in start.py).
    gc.set_threshold(GARBAGE_AFTER)


def keep_memory() -> None:
    """Make glibc's malloc reuse freed blocks instead of returning them to the system.

    By default it unmaps blocks as large as feature maps, and the kernel has to zero their pages
    again, one by one, for the next batch: a quarter of the time of a training step.
    """
    if platform.libc_ver()[0] == "glibc":
        library = ctypes.CDLL(None)
        library.mallopt(M_MMAP_THRESHOLD, 32 * 2**20)
        library.mallopt(M_TRIM_THRESHOLD, 2**30)
