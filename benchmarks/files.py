"""The files that are measured with: lines, and what rx_collector and the others are told to do with them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

__all__ = ["OPERATORS", "others", "pipeline", "write_lines"]

#: The jobs in the words of rx_collector.
OPERATORS = {
    "J1": ['filter: event == "EXEC"', "set: {host: '\"web\"'}", "rename: {filename: path}", "drop: [ppid]"],
    "J2": ["set: {host: '\"web\"'}"],
    "J3": ["aggregate: {by: pid, n: count()}"],
    "keep 1 %": ["filter: pid < 10"],
}
_JQ = {
    "J1": 'select(.event == "EXEC") | .host = "web" | .path = .filename | del(.filename, .ppid)',
    "J2": '.host = "web"',
    "J3": "[inputs.pid] | group_by(.)[] | {pid: .[0], n: length}",
    "keep 1 %": "select(.pid < 10)",
}
_FLUENT_BIT = {
    "J1": """[FILTER]
    Name grep
    Match *
    Regex event ^EXEC$
[FILTER]
    Name modify
    Match *
    Add host web
    Rename filename path
    Remove ppid
""",
    "J2": "[FILTER]\n    Name modify\n    Match *\n    Add host web\n",
    "J3": "",  # done by the stream processor, which has a file of its own
    "keep 1 %": "[FILTER]\n    Name grep\n    Match *\n    Regex pid ^[0-9]$\n",
}
_FLUENT_BIT_STREAMS = """[STREAM_TASK]
    Name count
    Exec CREATE STREAM count WITH (tag='counts') AS SELECT pid, COUNT(*) AS n FROM STREAM:stdin.0 WINDOW TUMBLING (1 SECOND) GROUP BY pid;
"""
_VECTOR = {
    "J1": 'if .event != "EXEC" { abort }\n      .host = "web"\n      .path = del(.filename)\n      del(.ppid)',
    "J2": '.host = "web"',
    "keep 1 %": "if int!(.pid) >= 10 { abort }",
}
_BENTHOS = {
    "J1": 'root = if this.event != "EXEC" { deleted() } else '
    '{ this.without("filename", "ppid").merge({"host": "web", "path": this.filename}) }',
    "J2": 'root = this.assign({"host": "web"})',
    "keep 1 %": "root = if this.pid >= 10 { deleted() } else { this }",
}


def write_lines(path: Path, count: int, size: int = 0) -> None:
    """Write lines of JSON of 9 fields: 250 bytes each, or `size`. Of a hundred 30 are EXEC; a pid is below 10 in one."""
    filler = max(size - 190, 0) if size else 62
    chance = random.Random(1)
    row = (
        '{"timestamp":%d,"event":"%s","comm":"python3","pid":%d,"ppid":16076,"uid":1000,'
        '"filename":"/usr/lib/x86_64-linux-gnu/perl/5.36.0/auto/List/Util/Util.so","args":"'
        + "x" * filler
        + '","exit_code":0}\n'
    )
    with path.open("w") as file:
        for number in range(count):
            kind = "EXEC" if number % 10 < 3 else "FILE_OPEN"
            file.write(row % (1148588691739 + number, kind, chance.randrange(1000)))


def pipeline(
    source: str | Sequence[object],
    operators: Sequence[str],
    sinks: Sequence[str],
    *,
    runners: int = 1,
    workers: int = 1,
) -> str:
    """Give the YAML of a pipeline with its runners, all of the same command."""
    command = ", ".join(f"'{part}'" for part in ([source] if isinstance(source, str) else source))
    names = [f"lines{number or ''}" for number in range(runners)]
    lines = ["runners:", *(f"  {name}: {{command: [{command}]}}" for name in names)]
    lines += ["pipelines:", "  job:", f"    from: [{', '.join(names)}]", "    operators:"]
    if workers > 1:
        lines.insert(-1, f"    workers: {workers}")
    lines += [f"      - {operator}" for operator in operators]
    lines.append("    sinks:")
    for number, sink in enumerate(sinks):
        lines += [f"      - {sink}", f"        name: out{number}"]
        lines.append("        backpressure: {strategy: block, capacity: 10_000}")
    return "\n".join(lines) + "\n"


def others(tool: str, job: str, source: Path, directory: Path) -> list[str] | None:
    """Give the command of another collector that does a job, None where it has no words for it; it writes into the directory.

    All read what `cat` gives them by a pipe, as the loops written by hand do.
    """
    if tool == "jq":
        flags = "-nc" if job == "J3" else "-c"
        return _shell(f"exec jq {flags} '{_JQ[job]}' > {directory}/jq.out", source)
    if tool == "fluent-bit" and job in _FLUENT_BIT:
        (directory / "parsers.conf").write_text("[PARSER]\n    Name lines\n    Format json\n")
        (directory / "streams.conf").write_text(_FLUENT_BIT_STREAMS if job == "J3" else "")
        (directory / "fluent-bit.conf").write_text(
            f"[SERVICE]\n    Flush 0.2\n    Log_Level error\n    Parsers_File {directory}/parsers.conf\n"
            f"    Streams_File {directory}/streams.conf\n"
            f"[INPUT]\n    Name stdin\n    Parser lines\n{_FLUENT_BIT[job]}"
            f"[OUTPUT]\n    Name file\n    Match {'counts' if job == 'J3' else '*'}\n    Path {directory}\n    File fluent-bit.out\n    Format plain\n"
        )
        return _shell(f"exec fluent-bit -c {directory}/fluent-bit.conf > {directory}/fluent-bit.log 2>&1", source)
    if tool == "vector" and job in _VECTOR:
        (directory / "vector.yaml").write_text(
            f"data_dir: {directory}\nsources:\n  lines:\n    type: stdin\n    decoding: {{codec: json}}\n"
            f"transforms:\n  job:\n    type: remap\n    inputs: [lines]\n    drop_on_abort: true\n"
            f"    source: |-\n      {_VECTOR[job]}\n"
            f"sinks:\n  out:\n    type: file\n    inputs: [job]\n    path: {directory}/vector.out\n"
            f"    encoding: {{codec: json}}\n"
        )
        return _shell(f"exec vector --quiet --config {directory}/vector.yaml", source)
    if tool in ("benthos", "redpanda-connect") and job in _BENTHOS:
        (directory / "benthos.yaml").write_text(
            f"input: {{stdin: {{}}}}\npipeline:\n  processors:\n    - mapping: '{_BENTHOS[job]}'\n"
            f"output: {{file: {{path: {directory}/benthos.out, codec: lines}}}}\nlogger: {{level: ERROR}}\n"
        )
        run = "run " if tool == "redpanda-connect" else "-c "
        return _shell(f"exec {tool} {run}{directory}/benthos.yaml", source)
    return None


def _shell(command: str, source: Path) -> list[str]:
    return ["sh", "-c", f"cat '{source}' | ({command})"]
