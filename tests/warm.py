"""The real command, without a new interpreter and its imports each time: most of what a short command costs is these.

A process that has imported the package waits, and each command is a fork of it: a process of its own, with pipes, a working
directory, a umask, an environment and an end of its own, that does what ``python -m rx_collector`` does from there on. What
an interpreter reads only when it starts cannot be another than here; `command` starts a new one when that is asked for.
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping

__all__ = ["command", "start"]

#: What begins like this is read when an interpreter or a module of ours starts.
_AT_START = ("PYTHON", "LC_", "LANG", "TZ", "LOGURU_", "RX_COLLECTOR_WITHOUT")
_server: tuple[subprocess.Popen[bytes], socket.socket, dict[str, str]] | None = None


def start() -> None:
    """Start the process that waits; it ends with this one. Called again it does nothing."""
    global _server
    if _server is None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        process = subprocess.Popen(
            [sys.executable, __file__, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        theirs.close()
        _server = process, ours, _at_start(os.environ)
        atexit.register(_stop)


def _at_start(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(_AT_START)}


def _stop() -> None:
    assert _server is not None
    process, connection, _ = _server
    connection.close()
    process.wait()


def command(
    *arguments: str, cwd: str | os.PathLike[str], timeout: float = 60, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run ``rx-collector`` with these arguments to its end; what it prints is caught."""
    start()
    assert _server is not None
    _, connection, at_start = _server
    complete = {**os.environ, **environment}
    if _at_start(complete) != at_start:
        argv = [sys.executable, "-m", "rx_collector", *arguments]
        return subprocess.run(argv, cwd=cwd, env=complete, capture_output=True, text=True, timeout=timeout, check=False)
    pipes = [os.pipe(), os.pipe()]
    umask = os.umask(0o077)
    os.umask(umask)
    request = json.dumps([list(arguments), os.fspath(cwd), umask, complete]).encode()
    try:
        socket.send_fds(connection, [request], [0, pipes[0][1], pipes[1][1]])
    finally:
        for _, write_end in pipes:
            os.close(write_end)
    pid = int(connection.recv(64))
    try:
        out, err = _read([read_end for read_end, _ in pipes], timeout)
    except TimeoutError:
        os.kill(pid, signal.SIGKILL)
        raise subprocess.TimeoutExpired(list(arguments), timeout) from None
    finally:
        code = int(connection.recv(64))
        for read_end, _ in pipes:
            os.close(read_end)
    return subprocess.CompletedProcess(["rx-collector", *arguments], code, out.decode(), err.decode())


def _read(pipes: list[int], timeout: float) -> list[bytes]:
    """Everything that is written to these pipes until nobody has them open."""
    end, texts = time.monotonic() + timeout, dict.fromkeys(pipes, b"")
    with selectors.DefaultSelector() as selector:
        for pipe in pipes:
            selector.register(pipe, selectors.EVENT_READ)
        while selector.get_map():
            ready = selector.select(end - time.monotonic())
            if not ready:
                raise TimeoutError
            for key, _ in ready:
                piece = os.read(key.fd, 1 << 16)
                texts[key.fd] += piece
                if not piece:
                    selector.unregister(key.fd)
    return list(texts.values())


def _serve(connection: socket.socket) -> bool:
    """Fork for each command that is asked for. Returns in the fork, where it is true, and at the end, where it is not."""
    while True:
        request, descriptors, _, _ = socket.recv_fds(connection, 1 << 20, 3)
        if not request:
            return False
        pid = os.fork()
        if pid == 0:
            for number, descriptor in enumerate(descriptors):
                os.dup2(descriptor, number)
                os.close(descriptor)
            arguments, directory, umask, environment = json.loads(request)
            os.chdir(directory)
            os.umask(umask)
            os.environ.clear()
            os.environ.update(environment)
            sys.argv = ["rx_collector", *arguments]
            sys.path.insert(0, os.getcwd())
            return True
        for descriptor in descriptors:
            os.close(descriptor)
        connection.send(str(pid).encode())
        connection.send(str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])).encode())


if __name__ == "__main__":
    del sys.path[0]  # the modules of the tests are not those of the command
    importlib.import_module("rx_collector.cli")
    assert threading.active_count() == 1
    with socket.socket(fileno=int(sys.argv[1])) as connection:
        if not _serve(connection):
            os._exit(0)
    runpy.run_module("rx_collector", run_name="__main__", alter_sys=True)
