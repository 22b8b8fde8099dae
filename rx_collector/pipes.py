"""The size of a pipe, in bytes: the kernel's default is 64 KiB, and what a user may have in all is limited."""

from __future__ import annotations

import fcntl

from rx_collector.switches import is_on

__all__ = ["LARGEST", "share", "widen"]

LARGEST = 1 << 20  # what an unprivileged user may ask for, where the administrator has not said otherwise
_ALL = 1 << 24  # of all our pipes, while nothing is written into them; the kernel gives a user 64 MiB
_SMALLEST = 1 << 16


def share(pipes: int) -> int:
    """Give the size for one of so many pipes, so that many idle ones do not use up what a user may have.

    >>> [share(pipes) for pipes in (1, 16, 17, 100, 500)]
    [1048576, 1048576, 524288, 131072, 65536]
    """
    size = LARGEST
    while size > _SMALLEST and size * pipes > _ALL:
        size >>= 1
    return size


def widen(descriptor: int, wanted: int) -> int:
    """Make a pipe as large as `wanted`, or as large as is allowed. Gives its size; 0 for what is no pipe. Never blocks."""
    try:
        size = fcntl.fcntl(descriptor, fcntl.F_GETPIPE_SZ)
    except OSError:
        return 0
    while wanted > size and is_on("reads"):
        try:
            return fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, wanted)
        except OSError:  # more than pipe-max-size, or than is left of pipe-user-pages-soft
            wanted >>= 1
    return size
