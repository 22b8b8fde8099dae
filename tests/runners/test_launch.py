"""Starting: what the child is given, what it is not, and the one line that says why it cannot be started."""

from __future__ import annotations

import json
import os
import resource
import signal
from pathlib import Path
from typing import Any

import pytest

import rx_collector as rx
from rx_collector.runners.supervisor import supervisor
from tests.conftest import child, descriptors, wait_until
from tests.runners.helpers import Collected, in_background, messages, said, the_child

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="root is needed to become another user")


def state(**options: Any) -> dict[str, Any]:
    (text,) = messages(*child("state"), name="state", **options)
    return json.loads(text)


def error_of(*command: str, **options: Any) -> str:
    error = Collected(rx.runner(*command, name="x", **options)).wait().error
    assert isinstance(error, rx.ProcessError)
    assert "\n" not in str(error)
    return str(error)


def test_it_leads_a_session_and_a_group_of_its_own() -> None:
    assert state()["leads"] is True


def test_the_working_directory(tmp_path: Path) -> None:
    assert state(cwd=str(tmp_path))["cwd"] == str(tmp_path)
    assert state()["cwd"] == os.getcwd()


# Environment


def environment(**options: Any) -> dict[str, str]:
    return dict(line.split("=", 1) for line in messages("/usr/bin/env", "-u", "_", **options))


def test_variables_are_added_replaced_and_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RX_OLD", "old")
    monkeypatch.setenv("RX_GONE", "here")
    seen = environment(env={"RX_OLD": "new", "RX_GONE": None, "RX_MORE": "a=b", "RX_NEVER": None})
    assert (seen["RX_OLD"], seen["RX_MORE"], "RX_GONE" in seen) == ("new", "a=b", False)
    assert seen["PATH"] == os.environ["PATH"]


def test_a_clear_environment() -> None:
    assert environment(env={"A": "1", "B": None}, clear_env=True) == {"A": "1"}
    assert environment(clear_env=True) == {}


def test_values_that_are_no_text_arrive_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environb, b"RX_RAW", b"a\xffb")
    for options in ({}, {"nice": 5}):
        (text,) = messages("sh", "-c", 'printf %s "$RX_RAW" | od -An -tx1', **options)
        assert text.split() == ["61", "ff", "62"]


# Standard input


def test_a_text_anew_for_each_start() -> None:
    collected = Collected(
        rx.runner("cat", stdin="one\ntwo", restart={"when": "always", "backoff": "1ms", "limit": "2 in 1m"})
    )
    assert collected.wait().texts == ["one", "two"] * 3


@pytest.mark.parametrize("command", [["wc", "-c"], ["sh", "-c", "sleep 0.05; wc -c"]])
def test_a_text_larger_than_every_pipe(command: list[str]) -> None:
    assert messages(*command, stdin={"text": "é" * 1_500_000}) == ["3000000"]


def test_a_large_text_that_nobody_reads_holds_nothing_up() -> None:
    assert messages("echo", "done", stdin={"text": "x" * 3_000_000}) == ["done"]


def test_a_file(tmp_path: Path) -> None:
    (tmp_path / "in").write_text("from a file\n")
    assert messages("cat", stdin={"file": str(tmp_path / "in")}) == ["from a file"]
    assert (
        error_of("cat", stdin={"file": str(tmp_path / "no")})
        == f"x: cannot read {tmp_path}/no: no such file or directory"
    )


def test_nothing_to_read_unless_said() -> None:
    assert messages("readlink", "/proc/self/fd/0") == ["/dev/null"]


# Descriptors and arguments


@pytest.mark.parametrize("options", [{}, {"nice": 1}, {"stdin": "text"}, {"output": "pty"}], ids=str)
def test_no_descriptor_leaks_into_the_child(options: dict[str, Any]) -> None:
    readable, writable = os.pipe()
    held = [Collected(rx.runner(*child("silent", 1))) for _ in range(3)]
    for one in held:
        assert one.first.wait(10)
    os.set_inheritable(readable, True)  # even one that somebody made inheritable
    lines = messages(*child("holds"), **options)
    os.close(readable)
    os.close(writable)
    for one in held:
        one.subscription.dispose()
    numbers = [int(line.split()[0]) for line in lines]
    assert numbers[:3] == [0, 1, 2]
    assert all("/proc/" in line for line in lines[3:]), lines  # the list itself
    assert len(numbers) <= 4


def test_secrets_are_in_nobodys_arguments() -> None:
    """Arguments can be read by everybody, the environment by the user alone; also while a limited child is made."""
    secret = "hunter2-but-longer"
    seen: list[bytes] = []

    def look() -> bool:
        for name in filter(str.isdigit, os.listdir("/proc")):
            try:
                seen.append(Path(f"/proc/{name}/cmdline").read_bytes())
            except OSError:
                continue
        return collected.first.is_set()

    collected = Collected(rx.runner(*child("silent", 1), env={"TOKEN": secret}, nice=1, limits={"core": 0}))
    wait_until(look, "it runs")
    assert Path(f"/proc/{the_child().pid}/environ").read_bytes().count(secret.encode()) == 1
    collected.subscription.dispose()
    assert any(b"silent" in line for line in seen)
    assert not any(secret.encode() in line for line in seen)


# What surrounds it


def test_umask_and_priority() -> None:
    assert state(umask="027")["umask"] == 0o027
    assert state(nice=7)["nice"] == 7
    both = state(umask=0o077, nice=19)
    assert (both["umask"], both["nice"]) == (0o077, 19)


@pytest.mark.parametrize(
    ("name", "given", "resource_name", "value"),
    [
        ("cpu", "1500ms", "CPU", 2),
        ("memory", "512MiB", "AS", 512 << 20),
        ("file_size", "1MiB", "FSIZE", 1 << 20),
        ("open_files", 64, "NOFILE", 64),
        ("processes", 4000, "NPROC", 4000),
        ("core", 0, "CORE", 0),
        ("stack", "4MiB", "STACK", 4 << 20),
        ("locked_memory", "64KiB", "MEMLOCK", 64 << 10),
    ],
)
def test_each_limit(name: str, given: Any, resource_name: str, value: int) -> None:
    hard = resource.getrlimit(getattr(resource, f"RLIMIT_{resource_name}"))[1]
    if hard != resource.RLIM_INFINITY and hard < value:
        pytest.skip(f"the limit of this process is {hard} already")
    limits = state(limits={name: given})["limits"]
    assert limits.pop(resource_name) == [value, value + 1 if resource_name == "CPU" else value]
    assert limits == {key: list(resource.getrlimit(getattr(resource, f"RLIMIT_{key}"))) for key in limits}


def test_a_limit_is_felt() -> None:
    error = Collected(rx.runner(*child("silent", 1), name="x", limits={"memory": "1MiB"})).wait().error
    assert isinstance(error, rx.ProcessError)
    burn = Collected(rx.runner("sh", "-c", "while :; do :; done", name="x", limits={"cpu": 1})).wait().error
    assert str(burn) in ("x: was killed by SIGXCPU", "x: was killed by SIGKILL")


def test_the_size_of_a_terminal_and_its_raw_mode() -> None:
    assert state(output="pty")["terminal"] == [1024, 50]
    assert messages("printf", r"a\nb\tc\r\n\004d\n", output="pty") == ["a", "b\tc", "\x04d"]


@pytest.mark.parametrize("options", [{}, {"nice": 1}, {"limits": {"open_files": 50}}])
def test_without_a_directory_it_starts_in_ours(
    options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert messages("pwd", **options) == [str(tmp_path)]


def test_the_larger_limit_of_descriptors_is_not_handed_on() -> None:
    """Room for the descriptors of many runners is the collector's: a child gets the limit that there was."""
    code = (
        "import json, resource\n"
        "soft, hard = 64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))\n"
        "all = [Collected(rx.runner('sh', '-c', 'sleep 0.1; ulimit -n')) for _ in range(30)]\n"
        "print(json.dumps([resource.getrlimit(resource.RLIMIT_NOFILE)[0], *[one.wait().texts for one in all]]))\n"
    )
    raised, *texts = said(code)
    assert raised > 64
    assert texts == [["64"]] * 30


# What a child must not inherit from the state of the program that starts it


def test_a_signal_mask_is_not_inherited() -> None:
    """Programs that wait with sigwait(3) block the signals: a child that inherited it could be stopped by SIGKILL alone."""
    code = (
        "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})\n"
        "print(Collected(rx.runner(*child('state'))).wait().texts[0])\n"
    )
    assert said(code)["blocked"] == []


def test_ignored_signals_are_not_inherited() -> None:
    """A shell that starts a job with & lets it ignore SIGINT, which is the stop signal of most tools."""
    code = (
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print(Collected(rx.runner(*child('state'))).wait().texts[0])\n"
    )
    assert said(code)["ignored"] & (1 << signal.SIGINT - 1 | 1 << signal.SIGTERM - 1) == 0


# Accounts


@pytest.mark.root
@as_root
@pytest.mark.parametrize("options", [{}, {"nice": 1}], ids=["directly", "by way of limited"])
def test_a_user_with_its_groups_and_variables(options: dict[str, Any]) -> None:
    shown = ("sh", "-c", 'id -u; id -g; id -G; echo "$HOME $USER $LOGNAME"')
    assert messages(*shown, user="nobody", cwd="/", **options) == [
        "65534",
        "65534",
        "65534",
        "/nonexistent nobody nobody",
    ]
    assert messages(*shown, user=12345, group=23456, cwd="/", env={"HOME": "/h"}, **options)[:3] == [
        "12345",
        "23456",
        "23456",
    ]
    assert messages("sh", "-c", "id -u; id -g", group="daemon", cwd="/", **options) == ["0", "1"]
    assert messages("sh", "-c", "echo $HOME", user="nobody", cwd="/", env={"HOME": "/h"}, **options) == ["/h"]


@pytest.mark.root
@as_root
def test_a_child_of_another_user_is_stopped_and_reported() -> None:
    runner = rx.runner("sleep", "3600", user="nobody", cwd="/", stop={"signal": "SIGTERM"})
    collected = Collected(runner)
    pid = the_child().pid
    wait_until(lambda: os.stat(f"/proc/{pid}").st_uid == 65534, "it is that user")
    runner.stop()
    assert collected.wait().error is None


# When it is root that becomes an ordinary user here, that user may not be able to read the interpreter.
@pytest.mark.parametrize("options", [{}] if os.geteuid() == 0 else [{}, {"nice": 1}], ids=str)
def test_an_ordinary_user_cannot_become_another(options: dict[str, Any]) -> None:
    code = (
        "import json\n"
        "if os.geteuid() == 0: os.setresuid(65534, 65534, 65534)\n"
        "error = Collected(rx.runner('true', name='x', user='root', cwd='/', **json.loads(sys.argv[1]))).wait().error\n"
        "print(json.dumps(str(error)))\n"
    )
    assert said(code, json.dumps(options)) == "x: cannot change its account: operation not permitted"


# What goes wrong


def test_unknown_accounts() -> None:
    assert "there is no such account" in error_of("true", user="no-such-user-here")
    assert "no-such-group-here" in error_of("true", group="no-such-group-here")


@pytest.mark.parametrize("options", [{}, {"limits": {"core": 0}}], ids=["directly", "by way of limited"])
def test_each_reason_in_one_line(tmp_path: Path, options: dict[str, Any]) -> None:
    def at(name: str, content: bytes, mode: int) -> list[str]:
        (tmp_path / name).write_bytes(content)
        (tmp_path / name).chmod(mode)
        return [f"./{name}"]

    def why(command: list[str], **more: Any) -> str:
        return error_of(*command, **{"cwd": str(tmp_path), **options, **more})

    assert why(["no-such-command"]) == "x: command not found: 'no-such-command'"
    assert why(["./no"]) == "x: command not found: './no'"
    assert why(["/"]) == "x: cannot start '/': it is a directory"
    assert why(at("text", b"x", 0o644)) == "x: cannot start './text': permission denied (is it executable?)"
    missing = "x: cannot start './bang': the interpreter its first line names was not found"
    assert why(at("bang", b"#!/no/such\n", 0o755)) == missing
    assert why(at("raw", b"\0\1", 0o755)) == "x: cannot start './raw': it is not a program this system can run"
    assert why(["true"], cwd="/dev/null") == "x: the working directory '/dev/null' is not a directory"
    assert why(["true"], env={"PATH": "/nowhere"}) == "x: command not found: 'true'"
    assert why(["echo", "x" * 200_000]) == "x: cannot start 'echo': argument list too long"


def test_a_limit_that_cannot_be_set_says_which() -> None:
    code = (
        "import json, resource\n"
        "resource.setrlimit(resource.RLIMIT_CORE, (0, 0))\n"
        "if os.geteuid() == 0:\n"
        "    import ctypes; ctypes.CDLL(None).prctl(24, 24, 0, 0, 0)  # without CAP_SYS_RESOURCE in what it starts\n"
        "error = Collected(rx.runner('true', name='x', limits={'core': '1MiB'})).wait().error\n"
        "print(json.dumps(str(error)))\n"
    )
    assert said(code).startswith("x: cannot limit its core: ")


def test_a_failed_start_leaks_nothing() -> None:
    before = descriptors()
    for options in [{}] * 50 + [{"nice": 1}] * 5:
        error_of("no-such-command", stdin="text", **options)
    wait_until(lambda: supervisor.guardian.pid is None, "the guardian has ended")
    wait_until(lambda: descriptors() <= before, f"descriptors are left: {descriptors() - before}")


@pytest.mark.slow
def test_every_number_of_free_descriptors_gives_an_error_and_no_hang() -> None:
    """With no descriptor left, or with any number too few, a start fails in one line, and the next one works again."""
    code = (
        "import json, resource\n"
        "Collected(rx.runner('true')).wait()\n"
        "wait_until(lambda: threading.active_count() == 1, 'all is over')\n"
        "had = len(os.listdir('/proc/self/fd')) - 1\n"
        "most = had + int(sys.argv[1]) + 30\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))\n"
        "held = [os.open('/dev/null', os.O_RDONLY) for _ in range(30)]\n"
        "try:\n"
        "    first = str(Collected(rx.runner('echo', 'x', name='x', **json.loads(sys.argv[2]))).wait(5).error)\n"
        "except OSError as error:\n"
        "    first = f'raised {error}'\n"
        "for descriptor in held: os.close(descriptor)\n"
        "again = Collected(rx.runner('echo', 'y')).wait(5).texts\n"
        "wait_until(lambda: threading.active_count() == 1, 'all is over')\n"
        "print(json.dumps([first, again, len(os.listdir('/proc/self/fd')) - 1 - had]))\n"
    )
    wrong = []

    def attempt(room: int, options: dict[str, Any]) -> None:
        try:
            first, again, left = said(code, str(room), json.dumps(options), deadline=25)
        except BaseException as error:  # a hang is one of the things that are looked for
            wrong.append((room, options, str(error)[-300:]))
            return
        if again != ["y"] or left or not ("too many open files" in first.lower() or first == "None"):
            wrong.append((room, options, first, again, left))

    cases = [(room, {}) for room in (0, 1, 2, 3, 5, 7, 9, 11)] + [
        (room, {"output": "pty", "nice": 1}) for room in (9, 12)
    ]
    for case in cases:
        attempt(*case)
    assert wrong == []


def test_a_system_without_pidfds_leaves_no_process_behind() -> None:
    """As under some sandboxes: what was started before the failure is not left alone."""
    code = (
        "import errno, json\n"
        "def no(*a): raise OSError(errno.ENOSYS, 'Function not implemented')\n"
        "real, os.pidfd_open = os.pidfd_open, lambda pid, *a: real(pid) if pid == supervisor.guardian.pid else no()\n"
        "had = len(os.listdir('/proc/self/fd'))\n"
        "error = Collected(rx.runner('sleep', '3600', name='x')).wait(10).error\n"
        "wait_until(lambda: threading.active_count() == 1, 'all is over')\n"
        "kids = open(f'/proc/self/task/{os.getpid()}/children').read().split()\n"
        "print(json.dumps([str(error), kids, len(os.listdir('/proc/self/fd')) - had]))\n"
    )
    error, children, descriptors_left = said(code)
    assert error.startswith("x: cannot start it")
    assert (children, descriptors_left) == ([], 0)


def test_starting_from_many_threads_at_once() -> None:
    threads = [in_background(lambda number=number: messages("echo", str(number))) for number in range(20)]
    for number, (thread, given) in enumerate(threads):
        thread.join(20)
        assert given == [[str(number)]]
