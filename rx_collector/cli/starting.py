"""The start of a command: what is made then stays, so that nothing is gained by looking through it for what can go."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["starting"]


@contextmanager
def starting() -> Iterator[None]:
    """Collect no garbage while it is entered, and never look through what was made meanwhile.

    Each collection looks through all modules, classes and descriptions again. It is a setting of the whole process, so only
    the command changes it, never the library.
    """
    if not gc.isenabled():  # who started us wants none at all
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
