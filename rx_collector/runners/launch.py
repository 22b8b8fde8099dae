"""Starting a process, and saying in plain words why it could not be started."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import pty
import signal
import struct
import subprocess
import termios
import tty
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from rx_collector.errors import ProcessError
from rx_collector.runners.spec import RunnerSpec

__all__ = ["Launched", "StartError", "launch"]

#: Bytes in the pipe for stdout, where the system lets us. More room means fewer and larger reads and a child that waits
#: later; without privileges a user has room for 64 such pipes, so a refusal is ignored.
_PIPE_SIZE: Final = 1 << 20
#: A terminal says how wide it is, and programs cut their lines to fit. No line should be cut.
_TERMINAL_ROWS, _TERMINAL_COLUMNS = 24, 10_000
#: What may be over in a moment: too many processes or files, no memory, a program that is being replaced.
_PASSING: Final = frozenset({errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ETXTBSY})


class StartError(ProcessError):
    """A process could not be started. `passing` is true when a second try may well succeed."""

    passing: bool = False


@dataclass(frozen=True, slots=True)
class Launched:
    """A process that runs: its number, and descriptors that the caller closes.

    `stdout` and `stderr` do not block. `pidfd` is -1 when the process is gone already and somebody else (a SIGCHLD that
    is ignored) has taken its exit status.
    """

    pid: int
    pidfd: int
    stdout: int
    stderr: int


def launch(name: str, spec: RunnerSpec) -> Launched:
    """Start the process of the runner `name`. Blocks until exec(2) has succeeded; raises StartError.

    It leads a session and a process group of its own, reads nothing, inherits no other descriptor, and finds no signal
    blocked, nor any ignored that could be used to stop it.
    """
    environment = _environment(spec)
    with contextlib.ExitStack() as ours, contextlib.ExitStack() as childs:
        try:
            stdout, stdout_end = _open_pty() if spec.output == "pty" else _open_pipe()
            ours.callback(os.close, stdout)
            childs.callback(os.close, stdout_end)
            stderr, stderr_end = os.pipe()
            ours.callback(os.close, stderr)
            childs.callback(os.close, stderr_end)
            os.set_blocking(stdout, False)
            os.set_blocking(stderr, False)
            with _plain_signals({signal.SIGINT, signal.SIGTERM, spec.stop.signal}):
                process = subprocess.Popen(
                    spec.argv(),
                    stdin=subprocess.DEVNULL,
                    stdout=stdout_end,
                    stderr=stderr_end,
                    cwd=spec.cwd,
                    env=environment,
                    close_fds=True,
                    restore_signals=True,
                    start_new_session=True,
                )
            pidfd = _watch(process)
        except (OSError, ValueError) as error:
            failure = StartError(f"{name}: {_why_not(error, spec, environment)}", runner=name)
            failure.passing = isinstance(error, OSError) and error.errno in _PASSING
            raise failure from None
        ours.pop_all()
        return Launched(process.pid, pidfd, stdout, stderr)


def _watch(process: subprocess.Popen[bytes]) -> int:
    """Open the descriptor that tells of its end. From here on the process is ours to reap, and no longer Popen's."""
    process.returncode = 0  # so that Popen never polls it, nor warns that it still runs
    try:
        return os.pidfd_open(process.pid)
    except ProcessLookupError:
        return -1
    except OSError:
        # Nobody could see it end, so it must not run.
        os.killpg(process.pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(process.pid, 0)
        raise


def _environment(spec: RunnerSpec) -> dict[str, str]:
    environment = dict(os.environ)
    for variable, value in (spec.env or {}).items():
        if value is None:
            environment.pop(variable, None)
        else:
            environment[variable] = value
    return environment


def _open_pipe() -> tuple[int, int]:
    reading, writing = os.pipe()
    with contextlib.suppress(OSError):
        fcntl.fcntl(reading, fcntl.F_SETPIPE_SZ, _PIPE_SIZE)
    return reading, writing


def _open_pty() -> tuple[int, int]:
    """Open a terminal that changes no byte: no echo, no carriage return before a newline."""
    reading, writing = pty.openpty()
    try:
        tty.setraw(writing)
        fcntl.ioctl(writing, termios.TIOCSWINSZ, struct.pack("4H", _TERMINAL_ROWS, _TERMINAL_COLUMNS, 0, 0))
    except BaseException:
        os.close(reading)
        os.close(writing)
        raise
    return reading, writing


@contextlib.contextmanager
def _plain_signals(wanted: Iterable[int]) -> Iterator[None]:
    """Let a child that is started within find no signal blocked, and none of `wanted` ignored.

    exec(2) keeps both from who starts it. A blocked mask comes from the thread that started ours. An ignored SIGINT comes
    from a shell that started the collector with ``&``; without this its children could not be stopped by it.
    """
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    ignored = [number for number in wanted if signal.getsignal(number) is signal.SIG_IGN]
    if not mask and not ignored:
        yield
        return
    if mask:
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
    try:
        with _handled(ignored):
            yield
    finally:
        if mask:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)


@contextlib.contextmanager
def _handled(numbers: list[int]) -> Iterator[None]:
    """Give ignored signals a handler that does nothing: the same for us, but exec(2) resets a handler to the default.

    Python sets handlers in the main thread only, so C is asked. getpid(2) takes no arguments, touches nothing and may be
    called at any time, which makes it a handler that does nothing.
    """
    if not numbers:
        yield
        return
    import ctypes  # noqa: PLC0415 - hardly ever needed, and not on every system

    library = ctypes.CDLL(None)
    set_handler: Any = library.signal
    set_handler.argtypes, set_handler.restype = (ctypes.c_int, ctypes.c_void_p), ctypes.c_void_p
    nothing = ctypes.cast(library.getpid, ctypes.c_void_p)
    for number in numbers:
        set_handler(number, nothing)
    try:
        yield
    finally:
        for number in numbers:
            set_handler(number, ctypes.c_void_p(int(signal.SIG_IGN)))


def _why_not(error: OSError | ValueError, spec: RunnerSpec, environment: dict[str, str]) -> str:
    """Say in plain words why a command could not be started."""
    command = spec.argv()[0]
    if isinstance(error, ValueError):
        return f"cannot start {command!r}: {error}"
    if spec.cwd is not None and (problem := _wrong_directory(spec.cwd)):
        return problem
    found = _find(command, spec.cwd or "", environment)
    if error.errno == errno.ENOENT and found is None:
        return f"command not found: {command!r}"
    if error.errno == errno.ENOENT and found is not None:
        interpreter = _interpreter(found)
        what = f"its interpreter {interpreter!r}" if interpreter else "the loader it was built for"
        return f"cannot start {command!r}: {what} was not found"
    if error.errno == errno.EACCES and found is not None:
        if os.path.isdir(found):
            return f"cannot start {command!r}: it is a directory"
        if not os.access(found, os.X_OK):
            return f"permission denied: {command!r} is not executable"
        if interpreter := _interpreter(found):
            return f"permission denied: the interpreter {interpreter!r} of {command!r} is not executable"
    if error.errno == errno.EACCES:
        return f"permission denied: {command!r}"
    if error.errno == errno.ENOTDIR:
        return f"command not found: {command!r}"
    if error.errno == errno.ENOEXEC:
        return f"cannot start {command!r}: it is not a program for this system, nor a script with a #! line"
    return f"cannot start {command!r}: {os.strerror(error.errno or 0).lower()}"


def _wrong_directory(cwd: str) -> str | None:
    if not os.path.exists(cwd):
        return f"the working directory {cwd!r} does not exist"
    if not os.path.isdir(cwd):
        return f"the working directory {cwd!r} is not a directory"
    if not os.access(cwd, os.X_OK):
        return f"permission denied: the working directory {cwd!r}"
    return None


def _find(command: str, cwd: str, environment: dict[str, str]) -> str | None:
    """Give the file that would be executed, as execvp(3) looks for it, whether or not it can be."""
    if "/" in command:
        places = [os.path.join(cwd, command)]
    else:
        places = [os.path.join(cwd, directory, command) for directory in os.get_exec_path(environment)]
    there = [place for place in places if os.path.lexists(place)]
    files = [place for place in there if not os.path.isdir(place)]
    return next(iter(files or there), None)


def _interpreter(path: str) -> str | None:
    """Give the interpreter that the first line of a script names, None when the file is no script."""
    try:
        with open(path, "rb") as file:
            first = file.readline(256)
    except OSError:
        return None
    words = first[2:].split() if first.startswith(b"#!") else []
    return os.fsdecode(words[0]) if words else None
