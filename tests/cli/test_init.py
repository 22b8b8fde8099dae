"""``init`` on real programs: what it writes validates, runs and passes its own test, with all suggestions taken, too."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from rx_collector.cli.guess import guesses
from rx_collector.config.document import parse_document
from rx_collector.pipeline.project import load
from tests.cli.test_errors import command
from tests.conftest import CHILDREN, child

pytestmark = pytest.mark.slow
CAPTURES = Path(__file__).parent.parent / "captures"


def printing(*lines: str) -> list[str]:
    return ["printf", "%s\n", *lines]


PROGRAMS: dict[str, tuple[list[str], str, dict[str, object]]] = {
    "json": (["cat", str(CAPTURES / "sslsniff.ndjson")], "format: json}", {}),
    "json behind noise": (
        printing("Attaching 1 probe...", '{"pid": 7}'),
        "{format: json, skip_noise: true}",
        {"pid": 7},
    ),
    "logfmt": (
        printing('level=info msg="it is up" n=3', "level=warn msg=down n=4"),
        "{format: logfmt, types: {n: int}}",
        {"level": "info", "msg": "it is up", "n": 3},
    ),
    "pairs": (printing("a: 1, b: x y", "a: 3, b: z"), "value_separator", {"a": 1, "b": "x y"}),
    "csv": (
        printing("pid,comm", "1,init", '2,"a, b"'),
        "{format: csv, header: true, types: {pid: int}}",
        {"pid": 1, "comm": "init"},
    ),
    "tsv": (printing("pid\tload", "1\t0.5"), "{format: tsv, header: true, types: {pid: int, load: float}}", {"pid": 1}),
    "columns of a name": (
        printing("PID COMMAND", "1 init splash", "2 sh"),
        "{format: columns, header: 1, rest: true, types: {PID: int}}",
        {"PID": 1, "COMMAND": "init splash"},
    ),
    "columns with names of two words": (
        printing(
            "Filesystem              1K-blocks     Used Available Use% Mounted on",
            "devtmpfs                 12334460        0  12334460   0% /dev",
            "/dev/vda                264212084 33925812  72465100  32% /",
        ),
        '{format: columns, header: 1, columns: [Filesystem, "1K-blocks", Used, Available, Use%, Mounted_on], '
        'rest: true, types: {"1K-blocks": int, Used: int, Available: int}}',
        {"Filesystem": "devtmpfs", "1K-blocks": 12334460, "Used": 0, "Available": 12334460},
    ),
    "short names of two words": (
        printing(
            "Filesystem      Size  Used Avail Use% Mounted on",
            "devtmpfs         12G     0   12G   0% /dev",
            "/dev/vda        252G   33G   70G  32% /",
        ),
        "{format: columns, header: 1, columns: [Filesystem, Size, Used, Avail, Use%, Mounted_on], rest: true}",
        {"Filesystem": "devtmpfs", "Size": "12G"},
    ),
    "sockets": (
        ["cat", str(CAPTURES / "ss.txt")],
        'columns: [State, Recv-Q, Send-Q, "Local_Address:Port", "Peer_Address:Port", Process], rest: true, '
        "types: {Recv-Q: int, Send-Q: int}}",
        {"State": "LISTEN", "Recv-Q": 0, "Send-Q": 128, "Local_Address:Port": "127.0.0.1:8123"},
    ),
    "sockets of nobody": (
        printing(
            "State  Recv-Q Send-Q Local Address:Port Peer Address:PortProcess",
            "LISTEN 0      128          0.0.0.0:2024      0.0.0.0:*",
        ),
        'columns: [State, Recv-Q, Send-Q, "Local_Address:Port", "Peer_Address:PortProcess"], rest: true',
        {"State": "LISTEN"},
    ),
    "a listing": (
        printing(
            "total 8",
            "drwxr-xr-x 11 root root 4096 Nov 25 17:49 some files",
            "lrwxrwxrwx  1 root root    7 Mar  1  2024 bin -> usr/bin",
        ),
        "{format: columns, header: 1, columns: [mode, links, owner, group, size, month, day, time, name], rest: true, "
        "types: {links: int, size: int, day: int}}",
        {"mode": "drwxr-xr-x", "links": 11, "owner": "root", "group": "root"},
    ),
    "a listing with dates": (
        printing("-rw-r--r-- 1 root root 4096 2026-11-25 17:49 some files"),
        "{format: columns, columns: [mode, links, owner, group, size, date, time, name], rest: true, "
        "types: {links: int, size: int}}",
        {"mode": "-rw-r--r--", "links": 1},
    ),
    "columns without names": (["cat", "/proc/loadavg"], "columns: [column_1", {}),
    "syslog": (
        printing("Jan  1 10:00:00 host sshd[42]: Accepted publickey"),
        "format: syslog",
        {"host": "host", "program": "sshd", "pid": 42},
    ),
    "strace": (["cat", str(CAPTURES / "strace.txt")], "format: strace", {}),
    "text": (printing("it is up", "it is down again"), "# operators:", {"message": "it is up"}),
    "hostile text": (
        printing("", "\x1b[31m${HOME} \u2028 'a' \"b\": {c} # \x7f\x85 é\U0001f600 \\"),
        "# operators:",
        {"message": "\x1b[31m${HOME} \u2028 'a' \"b\": {c} # \x7f\x85 é\U0001f600 \\"},
    ),
    "arguments to be quoted": (["printf", "%s\n", "${HOME}", "null", "", "- a: b #", "'\""], "# operators:", {}),
    "without an end": (["sh", "-c", "while :; do echo a=1 b=2; done"], "stop: SIGINT", {"a": 1, "b": 2}),
    "buffered into a pipe": (child("buffers"), "output: pty", {"message": "hello"}),
    "failing": (["sh", "-c", "echo a=1 b=2; exit 3"], "logfmt", {"a": 1, "b": 2}),
}


def uncommented(text: str) -> str:
    """The file with every suggestion taken."""
    lines = text.splitlines()
    return "\n".join(re.sub(r"^( +)# ( *(?:- )?\w+:(?: |$).*)", r"\1\2", line) for line in lines) + "\n"


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program(name: str, tmp_path: Path) -> None:
    argv, written, expected = PROGRAMS[name]
    result = command("init", "--output", "x.yaml", "--duration", "700ms", "--", *argv, cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("x.yaml: written; lines seen: ")
    text = (tmp_path / "x.yaml").read_text()
    assert written in text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rx-collector.schema.json", "x.yaml"]
    first = text.splitlines()[0]
    assert first == "# yaml-language-server: $schema=rx-collector.schema.json"
    schema = json.loads((tmp_path / "rx-collector.schema.json").read_text())
    document = parse_document(text)
    jsonschema.validate(document.value, schema)
    (events,) = document.value["tests"][0]["expect"].values()
    assert events[0].items() >= expected.items()
    assert document.value["runners"].popitem()[1]["command"] == argv
    (tmp_path / "all.yaml").write_text(uncommented(text))
    assert (tmp_path / "all.yaml").read_text().count("#") < text.count("# ")
    load(tmp_path / "all.yaml")
    assert [verdict.passed for verdict in load(tmp_path / "x.yaml").test()] == [True]
    ran = command("run", "x.yaml", "--duration", "500ms", "--max-events", "3", cwd=tmp_path)
    assert ran.returncode == (1 if name == "failing" else 0), ran.stderr
    assert ran.stdout.count("\n") >= 1
    assert "balanced" in ran.stderr


@pytest.mark.tools
@pytest.mark.parametrize(
    ("argv", "written"),
    [
        (["vmstat", "1"], "{format: columns, header: 2,"),
        (["ps", "-eo", "pid,rss,args"], "header: 1, rest: true, types: {PID: int"),
        (["df"], "Available, Use%, Mounted_on], rest: true, types: {"),
        (["ls", "-l", "/"], "columns: [mode, links, owner, group, size, "),
    ],
)
def test_a_tool_gives_its_name_to_the_file(argv: list[str], written: str, tmp_path: Path) -> None:
    result = command("init", "--", *argv, cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert written in (tmp_path / f"{argv[0]}.yaml").read_text()
    assert command("test", f"{argv[0]}.yaml", cwd=tmp_path).returncode == 0
    ran = command("run", f"{argv[0]}.yaml", "--duration", "1500ms", cwd=tmp_path)
    assert ran.returncode == 0
    assert json.loads(ran.stdout.splitlines()[0])


def test_a_file_in_another_directory_runs_the_command_where_it_ran(tmp_path: Path) -> None:
    (tmp_path / "lines").write_text("a=1 b=2\n")
    (tmp_path / "sub").mkdir()
    result = command("init", "--output", "sub/x.yaml", "--", "cat", "lines", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    ran = command("run", str(tmp_path / "sub" / "x.yaml"), cwd=tmp_path / "sub")
    assert (ran.returncode, ran.stdout) == (0, '{"a":1,"b":2}\n')


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "seq.yaml").symlink_to("nowhere")
    result = command("init", "--", "seq", "3", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert "seq.yaml is there already and is not overwritten" in result.stderr
    assert os.readlink(tmp_path / "seq.yaml") == "nowhere"
    (tmp_path / "rx-collector.schema.json").write_text("{}")
    result = command("init", "--output", "x.yaml", "--", "seq", "3", cwd=tmp_path)
    assert result.returncode == 2
    assert "rx-collector.schema.json is there already and is no schema of ours" in " ".join(result.stderr.split())
    assert (tmp_path / "rx-collector.schema.json").read_text() == "{}"
    (tmp_path / "rx-collector.schema.json").write_text('{"title": "rx_collector"}')
    assert command("init", "--output", "x.yaml", "--", "seq", "3", cwd=tmp_path).returncode == 0
    assert json.loads((tmp_path / "rx-collector.schema.json").read_text())["type"] == "object"


@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        (["no-such-thing"], 1, ": command not found: 'no-such-thing'"),
        (["true"], 1, "rx-collector: true printed nothing to look at"),
        (["sh", "-c", "echo not today >&2; exit 3"], 1, "on standard error: not today"),
        (["sleep", "60"], 1, "rx-collector: sleep printed nothing to look at within 0.2s"),
        ([], 2, "rx-collector init: Missing argument '-- COMMAND...'."),
    ],
)
def test_a_command_of_which_nothing_is_seen(tmp_path: Path, argv: list[str], code: int, message: str) -> None:
    result = command("init", "--output", "x.yaml", "--duration", "200ms", "--", *argv, cwd=tmp_path)
    assert result.returncode == code
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_deaf_program_is_gone_afterwards(tmp_path: Path) -> None:
    argv = [
        sys.executable,
        "-m",
        "rx_collector",
        "init",
        "--output",
        "x.yaml",
        "--duration",
        "500ms",
        "--",
        *child("deaf"),
    ]
    result = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode in (0, 1)
    found = subprocess.run(["pgrep", "-f", str(CHILDREN / "deaf.py")], capture_output=True, text=True, check=False)
    assert found.stdout == ""


@pytest.mark.parametrize("capture", sorted(CAPTURES.glob("*.ndjson")), ids=lambda path: path.name)
def test_captures_of_json_are_json(capture: Path) -> None:
    assert next(guesses(capture.read_text(errors="replace").splitlines()[:200])).options["format"] == "json"


@pytest.mark.parametrize(
    "text",
    [
        "hello there\nthis is a line\nand 3 more",
        "1\n2",
        "1,2,3\n4,5,6",
        "total 40\na 1 2",
        "Attaching some probes please\n5 6",
        "one two three\n1 2\na b",
        "a b c\nd e f",
        "x",
    ],
)
def test_what_only_looks_like_a_format_is_text(text: str) -> None:
    assert [guess.options for guess in guesses(text.split("\n"))] == [{}]
