"""The guardian: a small process that outlives the collector by a moment, and kills what it leaves behind.

It is a shell with one job: it reads the process groups of the running children from a pipe, and when that pipe ends,
however the collector came to its end (SIGKILL, ``os._exit``, a crash of the interpreter), it kills the groups that are
still on its list. The parent-death signal of the kernel reaches the direct child only, and not one that changed its
user; this reaches the whole group.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable

from rx_collector.log import logger

__all__ = ["Guardian"]

# "? NAME" comes before a child is started, with what its standard error will be called in /proc; "+ GROUP" when it has
# started; "- GROUP" before its number is given back. If the collector dies between the first two, the child is found by
# its standard error. It may not have that yet, so it is looked for again for a second. "~ GROUP" is one whose input ends
# with the collector, which gives it the chance to end well by itself.
_SCRIPT = r"""
trap '' INT TERM HUP QUIT PIPE TSTP
groups=' ' late=' ' starting=
while read -r what value; do
    case $what in
        '?') starting=$value ;;
        '!') starting= ;;
        '+') starting= groups="$groups$value " ;;
        '~') late="$late$value " ;;
        '-')
            case $groups in *" $value "*) groups="${groups%%" $value "*} ${groups#*" $value "}" ;; esac
            case $late in *" $value "*) late="${late%%" $value "*} ${late#*" $value "}" ;; esac ;;
    esac
done
for group in $groups; do kill -s KILL -- "-$group" 2>/dev/null; done
[ "$late" = ' ' ] || sleep 0.7
for group in $late; do kill -s KILL -- "-$group" 2>/dev/null; done
[ -n "$starting" ] || exit 0
for try in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    for link in /proc/[0-9]*/fd/2; do
        [ "$(readlink "$link" 2>/dev/null)" = "$starting" ] || continue
        pid=${link#/proc/} pid=${pid%%/*}
        kill -s KILL -- "-$pid" "$pid" 2>/dev/null
    done
    sleep 0.05
done
"""


class Guardian:
    """A guardian process, seen from the collector. All calls come from one thread and never block.

    A guardian that was killed, or that does not read, is replaced by a new one that is told everything again. `watch`
    calls back when a descriptor can be read, `unwatch` ends that, `later` calls back after so many seconds; without them its
    death is noticed at the next call.
    """

    _MARKS = "+~"

    def __init__(
        self,
        watch: Callable[[int, Callable[[], None]], None] = lambda descriptor, action: None,
        unwatch: Callable[[int], None] = lambda descriptor: None,
        later: Callable[[float, Callable[[], None]], object] = lambda seconds, action: None,
    ) -> None:
        self._watch = watch
        self._unwatch = unwatch
        self._later = later
        self._pidfd = -1
        self._groups: dict[int, str] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe = -1

    @property
    def pid(self) -> int | None:
        """Its process id, None while there is none."""
        return self._process.pid if self._process is not None else None

    def starting(self, name: str) -> None:
        """A child will be started whose standard error is called `name` (``pipe:[1234]``) in /proc."""
        self._tell(f"? {name}\n")

    def started(self, group: int, *, ends_by_itself: bool = False) -> None:
        """It has been started and leads this process group. One that `ends_by_itself`, with its input, gets time for it."""
        mark = "~" if ends_by_itself else "+"
        self._groups[group] = mark
        self._tell(f"{mark} {group}\n")

    def not_started(self) -> None:
        """It could not be started."""
        self._tell("! \n")

    def over(self, group: int) -> None:
        """Nothing is left of a group; its number is given back only after this."""
        self._groups.pop(group, None)
        self._tell(f"- {group}\n")

    def close(self) -> None:
        """Let it end. There must be no group any more, or it kills it."""
        if self._process is not None:
            self._end()  # it has nothing to do, so it ends at once

    def forget(self) -> None:
        """In a process that was forked off: the guardian is the parent's; do not hold its pipe open."""
        if self._process is not None:
            os.close(self._pipe)
            if self._pidfd >= 0:
                os.close(self._pidfd)
            self._process.returncode = 0  # it is not ours to wait for
        self._process, self._pipe, self._pidfd, self._groups = None, -1, -1, {}

    def _tell(self, line: str) -> None:
        if self._process is None:
            self._start()
            if line[0] in self._MARKS:
                return  # it was told so with all the others
        try:
            os.write(self._pipe, line.encode())
        except (BrokenPipeError, BlockingIOError):
            self.replace()
            if line.startswith("?"):
                os.write(self._pipe, line.encode())

    def _start(self) -> None:
        reading, writing = os.pipe()
        try:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", _SCRIPT, "rx-guardian"],
                stdin=reading,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env={"PATH": "/usr/bin:/bin"},
                start_new_session=True,
            )
        except BaseException:
            os.close(writing)
            raise
        finally:
            os.close(reading)
        os.set_blocking(writing, False)
        self._pipe = writing
        try:
            self._pidfd = os.pidfd_open(self._process.pid)
            self._watch(self._pidfd, self._died)
        except BaseException:
            self._process.kill()
            self._end()
            raise
        if self._groups:
            os.write(self._pipe, "".join(f"{mark} {group}\n" for group, mark in self._groups.items()).encode())

    def replace(self) -> None:
        """Start a new one, which is told what the old one knew. The old one must be dead before its pipe ends."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._end()
        self._start()

    def _died(self) -> None:
        """It was killed, or could not be replaced the last time."""
        try:
            if self._groups:
                self.replace()
            elif self._process is not None:
                self._end()
        except OSError as error:
            logger.error("the guardian cannot be replaced just now: {}", error)
            self._later(1.0, self._died)

    def _end(self) -> None:
        assert self._process is not None
        if self._pidfd >= 0:
            self._unwatch(self._pidfd)
            os.close(self._pidfd)
        os.close(self._pipe)
        self._process.wait()
        self._process, self._pipe, self._pidfd = None, -1, -1
