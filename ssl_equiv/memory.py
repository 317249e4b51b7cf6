"""How the C library's allocator treats the memory of training on a CPU."""

from __future__ import annotations

import ctypes
import os

# <malloc.h> of glibc
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4


def keep_freed_memory() -> bool:
    """Let glibc keep what is freed, for the next step, in place of giving it back to the kernel.

    A training step frees its activations and gradients, and the next one needs them again: glibc
    maps large ones anew, and the kernel fills every page with zeros at its first use. Kept memory
    counts as this process's until it ends. A user's own setting of the same stays: thresholds in
    ``MALLOC_...`` variables, or anything of malloc in ``GLIBC_TUNABLES``.

    Returns:
        Whether anything was set: not where the C library is another one.
    """
    asked = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_MMAP_MAX_")
    if any(name in os.environ for name in asked) or "malloc" in os.environ.get(
        "GLIBC_TUNABLES", ""
    ):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # musl, macOS, Windows
        return False
    return bool(mallopt(_MMAP_MAX, 0) and mallopt(_TRIM_THRESHOLD, -1))
