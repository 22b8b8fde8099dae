"""The end of a command: when all is done and said, a signal must not change the exit status any more."""

from __future__ import annotations

import atexit
import os
import signal

__all__ = ["end_regardless"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def end_regardless() -> None:
    """Let the process end with its own exit status, also when it is asked to stop from now on.

    Should it not end, say because a thread of the user's own code runs on, then a second signal kills it. It is a setting of
    the whole process and never taken back, so only `main` passes it on, to those who run pipelines.
    """
    numbers = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    seen: list[int] = []

    def handle(number: int, frame: object) -> None:
        seen.append(number)
        if len(seen) > 1:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    def ignore() -> None:
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)

    for number in numbers:
        signal.signal(number, handle)
    # The interpreter gives up handlers, when it ends, for what kills, but leaves what is ignored.
    atexit.register(ignore)
