"""What this machine offers to a new process."""

import contextlib
import ctypes
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_ARENA_MAX: Final = -8
"""M_ARENA_MAX in glibc's malloc.h."""


def usable_cores(folder: Path = Path("/sys/fs/cgroup")) -> int:
    """Return the number of processor cores that this process may use.

    In a container that is what its limit allows, rounded up.
    """
    cores = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    with contextlib.suppress(OSError, ValueError):  # "max": there is no limit
        quota, period = map(int, (folder / "cpu.max").read_text().split())
        cores = min(cores, max(1, math.ceil(quota / period)))
    return cores


def available_memory() -> int | None:
    """Return the bytes of memory that a new process may use, or None where it cannot be told.

    In a container that is what its limit leaves.
    """
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return min([int(line.split()[1]) * 1024, *_left_of_a_limit()])
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return None


def share_one_heap() -> None:
    """Let threads that are started from now on take their memory from one heap, as glibc can.

    By default glibc gives each thread a heap of its own. Frames that one thread makes and another
    frees then spread over all of them: 50 MB more, which grew for ten minutes.
    """
    with contextlib.suppress(AttributeError, OSError):  # another C library
        ctypes.CDLL(None).mallopt(_ARENA_MAX, 1)


def _left_of_a_limit(folder: Path = Path("/sys/fs/cgroup")) -> Iterator[int]:
    """Yield how much memory a control group (version 2) leaves, if it has a limit.

    Files that were read are no use of memory that matters: they make room.
    """
    try:
        limit = int((folder / "memory.max").read_text())
        used = int((folder / "memory.current").read_text())
        rows = (line.split() for line in (folder / "memory.stat").read_text().splitlines())
        cached = {row[0]: int(row[1]) for row in rows}.get("inactive_file", 0)
    except (OSError, ValueError, IndexError):  # "max": there is none
        return
    yield max(0, limit - used + cached)
