"""Descriptors: room for those of many runners, without handing the larger limit on to their children.

A runner needs four: its ends of two pipes, the pidfd of its child, and what wakes its reader; a fifth when it is fed.
The soft limit is mostly 1,024 for the sake of programs that use select(2), which is the children's business, not ours.
"""

from __future__ import annotations

import resource

__all__ = ["PER_RUNNER", "give_back", "make_room"]

PER_RUNNER = 5
_OTHERS = 256  # sinks, files, the interpreter
_original: tuple[int, int] | None = None  # the limit before it was raised


def make_room(runners: int) -> None:
    """Raise the soft limit, as far as the hard one allows, when so many runners need it."""
    global _original
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = runners * PER_RUNNER + _OTHERS
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    wanted = wanted * 2 if hard == resource.RLIM_INFINITY else min(hard, wanted * 2)
    if wanted > soft:
        if _original is None:
            _original = (soft, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def give_back(pid: int) -> None:
    """Give a child that has just been started the limit it would have had, a moment late: it runs already."""
    if _original is not None:
        try:
            resource.prlimit(pid, resource.RLIMIT_NOFILE, _original)
        except (ProcessLookupError, PermissionError):
            pass  # it has ended already, or became another user
