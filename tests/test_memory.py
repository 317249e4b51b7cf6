from __future__ import annotations

import os
import platform
import resource
import subprocess
import sys

import pytest

# 64 MiB, taken and freed 16 times: how many pages did the kernel hand out?
PROGRAM = """
import ctypes, resource
from ssl_equiv.memory import keep_freed_memory
print(keep_freed_memory())
c = ctypes.CDLL(None)
c.malloc.restype, c.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(16):
    memory = c.malloc(2**26)
    ctypes.memset(memory, 1, 2**26)
    c.free(memory)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
PAGES = 16 * 2**26 // resource.getpagesize()
GLIBC = platform.libc_ver()[0] == "glibc"


def pages(**environment: str) -> tuple[str, int]:
    kept = {
        k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "GLIBC_", "LD_PRE"))
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**kept, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    said, count = done.stdout.split()
    return said, int(count)


@pytest.mark.skipif(not GLIBC, reason="the C library is not glibc")
def test_what_was_freed_is_used_again() -> None:
    said, count = pages()
    assert said == "True"
    assert count < PAGES / 8  # the first time alone


@pytest.mark.skipif(not GLIBC, reason="the C library is not glibc")
def test_the_users_own_setting_stays() -> None:
    said, count = pages(MALLOC_TRIM_THRESHOLD_="100000", MALLOC_MMAP_THRESHOLD_="100000")
    assert said == "False"
    assert count >= PAGES  # mapped anew each time
