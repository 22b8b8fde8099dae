"""Launching: from a runner's description to a running process and our ends of its pipes."""

from __future__ import annotations

import errno
import fcntl
import grp
import math
import os
import pwd
import resource
import signal
import stat
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from rx_collector.errors import ProcessError
from rx_collector.frozen import frozen
from rx_collector.runners.spec import RunnerSpec

__all__ = ["Launched", "launch"]

_RESOURCES = {
    "cpu": resource.RLIMIT_CPU,
    "memory": resource.RLIMIT_AS,
    "file_size": resource.RLIMIT_FSIZE,
    "open_files": resource.RLIMIT_NOFILE,
    "processes": resource.RLIMIT_NPROC,
    "core": resource.RLIMIT_CORE,
    "stack": resource.RLIMIT_STACK,
    "locked_memory": resource.RLIMIT_MEMLOCK,
}
_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT)
_COLUMNS = 1024  # of a pty, so that programs which cut their lines to the terminal's width do not


@frozen
class Launched:
    """A process that has been started, and our ends of its pipes; `stdin` is -1 unless it was asked for."""

    process: subprocess.Popen[bytes]
    stdout: int
    stderr: int
    stdin: int


@frozen
class _Account:
    uid: int | None = None
    gid: int | None = None
    groups: list[int] | None = None
    variables: tuple[tuple[str, str], ...] = ()


def launch(name: str, spec: RunnerSpec, *, fed: bool, announce: Callable[[str], None]) -> Launched:
    """Start the process of a runner, as the leader of a session and process group of its own.

    `fed` asks for a pipe to its standard input. `announce` is called before anything starts, with the name that its
    standard error will have in /proc: that of a pipe, which no other process has, as that of a terminal may. Raises
    ProcessError that says in one line why it cannot be started. It blocks until the program runs: a millisecond or two,
    some more with `nice` or `limits`.
    """
    if spec.cwd is not None and not os.path.isdir(spec.cwd):
        what = "is not a directory" if os.path.exists(spec.cwd) else "does not exist"
        raise ProcessError(f"{name}: the working directory {spec.cwd!r} {what}", runner=name)
    account = _account(name, spec)
    environment = _environment(spec, account)
    with ExitStack() as ours_if_it_fails, ExitStack() as theirs:
        try:
            stdout, their_stdout = _output(spec)
            ours_if_it_fails.callback(os.close, stdout)
            theirs.callback(os.close, their_stdout)
            stderr, their_stderr = os.pipe()
            ours_if_it_fails.callback(os.close, stderr)
            theirs.callback(os.close, their_stderr)
            stdin, their_stdin = _input(name, spec, fed)
            if stdin >= 0:
                ours_if_it_fails.callback(os.close, stdin)
            if their_stdin >= 0:
                theirs.callback(os.close, their_stdin)
            announce(os.readlink(f"/proc/self/fd/{their_stderr}"))
        except OSError as error:  # no descriptors left, no terminals left
            raise ProcessError(f"{name}: cannot start it: {_text(error)}", runner=name) from None
        streams: dict[str, Any] = {
            "stdin": their_stdin if their_stdin >= 0 else subprocess.DEVNULL,
            "stdout": their_stdout,
            "stderr": their_stderr,
            "start_new_session": True,
            "umask": -1 if spec.umask is None else spec.umask,
        }
        try:
            if spec.nice is not None or spec.limits is not None or _signals_are_held():
                process = _start_limited(name, spec, account, environment, streams)
            else:
                process = subprocess.Popen(
                    spec.argv(),
                    cwd=spec.cwd,
                    env=environment,
                    user=account.uid,
                    group=account.gid,
                    extra_groups=account.groups,
                    **streams,
                )
        except (OSError, ValueError) as error:
            raise ProcessError(f"{name}: {_why_not(error, spec, environment)}", runner=name) from None
        ours_if_it_fails.pop_all()
    os.set_blocking(stderr, False)
    return Launched(process, stdout, stderr, stdin)


def _signals_are_held() -> bool:
    """Tell whether a child would inherit a blocked or ignored signal, and with it a deafness to stop requests.

    Programs that wait with sigwait(3) block them, shells let what they start with ``&`` ignore SIGINT.
    """
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    return bool(blocked) or any(signal.getsignal(number) is signal.SIG_IGN for number in _STOPPING)


def _environment(spec: RunnerSpec, account: _Account) -> dict[str, str]:
    environment = {} if spec.clear_env else {**os.environ, **dict(account.variables)}
    for variable, value in (spec.env or {}).items():
        if value is None:
            environment.pop(variable, None)
        else:
            environment[variable] = value
    return environment


def _account(name: str, spec: RunnerSpec) -> _Account:
    """Look up the account it runs as. With a user come its groups, and HOME, USER and LOGNAME."""
    if spec.user is None and spec.group is None:
        return _Account()
    try:
        gid = None
        if spec.group is not None:
            gid = spec.group if isinstance(spec.group, int) else grp.getgrnam(spec.group).gr_gid
        if spec.user is None:
            return _Account(gid=gid, groups=[] if gid is not None and os.geteuid() == 0 else None)
        try:
            user = pwd.getpwuid(spec.user) if isinstance(spec.user, int) else pwd.getpwnam(spec.user)
        except KeyError:
            if not isinstance(spec.user, int):
                raise
            if gid is None:
                what = f"user {spec.user} has no entry that says its group; say 'group', too"
                raise ProcessError(f"{name}: {what}", runner=name) from None
            return _Account(spec.user, gid, [])  # a number needs no entry
        if user.pw_uid == os.geteuid() and gid in (None, os.getegid()):
            return _Account()  # it is that user already, who may not be allowed to change to himself
        gid = user.pw_gid if gid is None else gid
        variables = (("HOME", user.pw_dir), ("USER", user.pw_name), ("LOGNAME", user.pw_name))
        return _Account(user.pw_uid, gid, os.getgrouplist(user.pw_name, gid), variables)
    except KeyError as error:
        raise ProcessError(f"{name}: there is no such account: {str(error.args[0]).strip()}", runner=name) from None


def _output(spec: RunnerSpec) -> tuple[int, int]:
    """Make standard output: our end and the child's."""
    if spec.output == "pipe":
        return os.pipe()
    from tty import setraw

    ours, theirs = os.openpty()
    setraw(theirs)
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, _COLUMNS, 0, 0))
    return ours, theirs


def _input(name: str, spec: RunnerSpec, fed: bool) -> tuple[int, int]:
    """Make standard input: our end and the child's, -1 where there is none."""
    if fed:
        theirs, ours = os.pipe()
        os.set_blocking(ours, False)
        return ours, theirs
    if spec.stdin is None:
        return -1, -1
    if spec.stdin.file is not None:
        try:
            # Without waiting: a named pipe would wait for who writes it, and all children with it.
            descriptor = os.open(spec.stdin.file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise ProcessError(f"{name}: cannot read {spec.stdin.file}: {_text(error)}", runner=name) from None
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode) or stat.S_ISFIFO(mode):
            os.close(descriptor)
            what = (
                "a directory"
                if stat.S_ISDIR(mode)
                else "a named pipe; a runner can read it, and a sink stdin write here"
            )
            raise ProcessError(f"{name}: cannot read {spec.stdin.file}: it is {what}", runner=name)
        os.set_blocking(descriptor, True)
        return -1, descriptor
    return -1, _in_memory((spec.stdin.text or "").encode())


def _in_memory(content: bytes) -> int:
    """Give a descriptor from which this can be read: nobody has to be there to write it, however long it is."""
    memory = os.memfd_create("rx-collector")
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(memory, view) :]
        os.lseek(memory, 0, os.SEEK_SET)
    except OSError:
        os.close(memory)
        raise
    return memory


def _start_limited(
    name: str, spec: RunnerSpec, account: _Account, environment: dict[str, str], streams: dict[str, Any]
) -> subprocess.Popen[bytes]:
    """Start it by way of `limited`, which sets what only the process itself can set before it is the program."""
    limits = {}
    for resource_name, number in _RESOURCES.items():
        amount = getattr(spec.limits, resource_name, None)
        if amount is not None:
            soft = resource.RLIM_INFINITY if amount == -1 else math.ceil(amount)
            # Of processor time the hard limit comes a second later: SIGXCPU first, then SIGKILL.
            limits[number] = (resource_name, soft, soft + 1 if number == resource.RLIMIT_CPU else soft)
    settings = {
        "nice": spec.nice,
        "defaults": [number for number in _STOPPING if signal.getsignal(number) is signal.SIG_IGN],
        "limits": limits,
        "uid": account.uid,
        "gid": account.gid,
        "groups": account.groups,
        "cwd": spec.cwd,
        "env": environment,
    }
    import json

    told = _in_memory(json.dumps(settings).encode())
    try:
        reading, writing = os.pipe()
    except OSError:
        os.close(told)
        raise
    try:
        try:
            program = [sys.executable, "-I", "-S", os.path.join(os.path.dirname(__file__), "limited.py")]
            arguments = [str(told), str(writing), *spec.argv()]
            process = subprocess.Popen([*program, *arguments], pass_fds=[told, writing], **streams)
        finally:
            os.close(told)
            os.close(writing)
        trouble = b""
        while part := os.read(reading, 65536):
            trouble += part
    finally:
        os.close(reading)
    if trouble:
        process.wait()
        found = json.loads(trouble)
        if found["step"]:
            why = os.strerror(found["errno"]).lower() if found["errno"] else found["text"]
            raise ProcessError(f"{name}: cannot {found['step']}: {why}", runner=name)
        raise OSError(found["errno"], found["text"], spec.argv()[0])
    return process


def _text(error: OSError) -> str:
    return os.strerror(error.errno or 0).lower()


def _why_not(error: OSError | ValueError, spec: RunnerSpec, environment: dict[str, str]) -> str:
    """Say in plain words why a command could not be started."""
    from shutil import which

    command = spec.argv()[0]
    if isinstance(error, ValueError):
        return f"cannot start {command!r}: {error}"
    # Python 3.11 does not tell a refused setuid(2) from a refused execve(2), which root alone would see as the latter.
    changes = (spec.user is not None or spec.group is not None) and os.geteuid() != 0
    if error.errno == errno.EPERM and (error.filename is None or changes):
        return "cannot change its account: operation not permitted"
    search = environment.get("PATH", os.defpath)
    path = os.path.join(spec.cwd or "", command) if "/" in command else which(command, path=search)
    if error.errno == errno.ENOENT:
        if path is not None and os.path.exists(path):
            return f"cannot start {command!r}: the interpreter its first line names was not found"
        return f"command not found: {command!r}"
    if path is not None and os.path.isdir(path):
        return f"cannot start {command!r}: it is a directory"
    if error.errno == errno.EACCES:
        return f"cannot start {command!r}: permission denied (is it executable?)"
    if error.errno == errno.ENOEXEC:
        return f"cannot start {command!r}: it is not a program this system can run"
    return f"cannot start {command!r}: {_text(error)}"
