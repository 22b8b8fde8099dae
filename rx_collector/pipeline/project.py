"""A project: the checked contents of a file, frozen, ready to run; and how a file becomes one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import field, replace
from typing import TYPE_CHECKING, Any, Final

from rx_collector.config.options import INVALID, Scope, did_you_mean, nearest
from rx_collector.errors import USED_AT, ConfigError, Mistake
from rx_collector.frozen import frozen
from rx_collector.ledger import Report
from rx_collector.pipeline.spec import Branch, FileSpec, PipelineSpec
from rx_collector.runners.spec import RunnerSpec
from rx_collector.sinks.file import File
from rx_collector.sinks.stdin import Stdin

if TYPE_CHECKING:
    from rx_collector.config.document import Document
    from rx_collector.config.variables import Variables
    from rx_collector.pipeline.cases import TestSpec
    from rx_collector.pipeline.verdict import Verdict

__all__ = [
    "Examined",
    "Project",
    "branch_of",
    "examine",
    "lifecycle_of",
    "load",
    "load_each",
    "load_together",
]


def branch_of(pipeline: str, branch: str) -> str:
    """Give the name by which a branch of a pipeline is read."""
    return f"{pipeline}.{branch}"


# The right form of what mistakes are about.
_FROM: Final = "from: [load, disks]"
_FED: Final = (
    "runners:\n  load: {command: [vmstat, 1]}\n  sorter: {command: [sort]}\npipelines:\n  all:\n    from: [load]\n"
    "    sinks:\n      - stdin: sorter\n        backpressure: {strategy: block}"
)


def lifecycle_of(runner: str) -> str:
    """Give the name by which a pipeline reads what becomes of a runner's child, instead of what it prints."""
    return f"{runner}.lifecycle"


def _as_it_is(text: str) -> str:
    return text


@frozen
class Project:
    """What a file describes. Change it with `dataclasses.replace` or `with_runner`; run it with `run`."""

    name: str
    runners: Mapping[str, RunnerSpec]
    pipelines: Mapping[str, PipelineSpec]
    description: str = ""
    tests: tuple[TestSpec, ...] = ()
    #: Hides the values of secret variables in a text.
    redact: Callable[[str], str] = field(default=_as_it_is, repr=False, compare=False)
    #: Absolute paths of the files that it was loaded from, the one that was named first; none for one made in Python.
    files: tuple[str, ...] = field(default=(), compare=False)
    #: What is likely not meant, with its place: a runner that nobody reads, a template that nothing uses.
    warnings: tuple[Mistake, ...] = field(default=(), repr=False, compare=False)

    def with_runner(self, name: str, **options: Any) -> Project:
        """Give the project with other options for one of its runners, for example another ``command``.

        Raises ConfigError for an unknown runner or a wrong option.
        """
        if name not in self.runners:
            raise ConfigError([Mistake(f"no runner {name!r}{did_you_mean(name, self.runners)}", "runners")])
        return replace(self, runners={**self.runners, name: replace(self.runners[name], **options)})

    def run(
        self, *, duration: float | str | None = None, max_events: int | None = None, drain: float | str = "30s"
    ) -> Report:
        """Run it to its end and give the balance sheet. Blocks; call it from any thread.

        Args:
            duration: stop after so many seconds (or ``10s``).
            max_events: stop when so many events have reached the sinks; no more than these do.
            drain: how long events may take to reach their sinks after the sources have ended.

        Raises OutputError when a sink cannot be opened. What goes wrong later is in the report.
        """
        from rx_collector.pipeline.collector import Collector

        return Collector(self).run(duration=duration, max_events=max_events, drain=drain)

    def record(
        self,
        recording: str | os.PathLike[str],
        *,
        duration: float | str | None = None,
        max_events: int | None = None,
        drain: float | str = "30s",
    ) -> Report:
        """Run it as `run` does, and write what its runners give, with when, to a file that is not there yet.

        A recording that cannot be written to its end is an error in the report. Raises OutputError when it, or a sink,
        cannot be opened.
        """
        from rx_collector.pipeline.record import RecordingCollector

        return RecordingCollector(self, recording).run(duration=duration, max_events=max_events, drain=drain)

    def replay(
        self, recording: str | os.PathLike[str], *, speed: float | None = None, drain: float | str = "30s"
    ) -> Report:
        """Play a recording through its pipelines into its sinks; start no runner. Gives the balance sheet. Blocks.

        The time of operators is that of the recording, so the same bytes come out every time, at any `speed`: 1.0 is that
        of the run, 10.0 ten times as fast, None as fast as the sinks take it. No sink loses anything: each has the
        strategy ``block``. `drain` is how long events may take to reach their sinks after the last record.

        Raises ConfigError for what is no recording, or one with none of these runners; OutputError when a sink cannot be
        opened.

        >>> import pathlib, tempfile
        >>> text = '''
        ... runners: {numbers: {command: [seq, "3"]}}
        ... pipelines: {all: {from: numbers, sinks: [{file: out.ndjson, backpressure: drop_oldest}]}}
        ... '''
        >>> with tempfile.TemporaryDirectory() as directory:
        ...     file, output = pathlib.Path(directory, "numbers.yaml"), pathlib.Path(directory, "out.ndjson")
        ...     _ = file.write_text(text)
        ...     _ = load(file).record(f"{directory}/a.recording")
        ...     _ = load(file).replay(f"{directory}/a.recording", speed=50)
        ...     output.read_text().split()
        ['{"message":"1"}', '{"message":"2"}', '{"message":"3"}', '{"message":"1"}', '{"message":"2"}', '{"message":"3"}']
        """
        from rx_collector.pipeline.recording import Recording
        from rx_collector.pipeline.replay import ReplayCollector

        return ReplayCollector(self, Recording(recording), speed=speed).run(drain=drain)

    def test(self) -> tuple[Verdict, ...]:
        """Run the tests of the file, in virtual time, and say of each what came of it.

        Starts no child, opens no sink, waits for no clock: an hour of stream time takes milliseconds. Blocks so long, on
        this thread. What is expected and did not come is in the verdicts; nothing is raised for it.

        >>> import pathlib, tempfile
        >>> text = '''
        ... runners: {numbers: {command: [seq, "3"]}}
        ... pipelines:
        ...   large:
        ...     from: numbers
        ...     operators: [filter: int(message) > 1]
        ...     sinks: [{file: out.ndjson, backpressure: block}]
        ... tests:
        ...   - name: small numbers are left out
        ...     given: {numbers: [1, 2]}
        ...     expect: {large: [{message: "2"}], ledger: {filtered: 1}}
        ... '''
        >>> with tempfile.TemporaryDirectory() as directory:
        ...     file = pathlib.Path(directory, "numbers.yaml")
        ...     _ = file.write_text(text)
        ...     verdicts = load(file).test()
        >>> [(verdict.name, verdict.passed) for verdict in verdicts]
        [('small numbers are left out', True)]
        """
        from rx_collector.pipeline.verdict import judge

        return tuple(judge(self, test) for test in self.tests)


def load(
    file: str | os.PathLike[str], environment: Mapping[str, str] | None = None, *, profile: str | None = None
) -> Project:
    """Read and check a file, with those that it includes. Raises ConfigError that holds every mistake, in their order.

    `environment` is where ``${NAME}`` is looked up, the process's own unless given; ``${HOSTNAME}`` is always there.
    `profile` is the name of one of its ``profiles``, which is laid over it.

    >>> import os, tempfile
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     path = os.path.join(directory, "numbers.yaml")
    ...     with open(path, "w") as file:
    ...         _ = file.write(
    ...             "runners: {numbers: {command: [seq, 3]}}\\n"
    ...             "pipelines: {all: {from: numbers, sinks: [{'null': {}, backpressure: block}]}}\\n")
    ...     report = load(path).with_runner("numbers", command=["seq", "7"]).run()
    >>> report.pipelines["all"].sinks["null"].delivered
    7
    """
    return examine([file], environment, profile).project()


def load_together(
    files: Sequence[str | os.PathLike[str]],
    environment: Mapping[str, str] | None = None,
    *,
    profile: str | None = None,
) -> Project:
    """Read files, each of them right by itself, as one project. What several of them include is there once.

    A profile is chosen in those that have it. Raises ConfigError that holds the mistakes of all of them, and those that
    only arise between them: a name that is taken twice, a file that two sinks write.
    """
    if len(files) == 1:
        return load(files[0], environment, profile=profile)
    alone = load_each(files, environment, profile=profile)
    together = examine(files, environment, profile, alone=False)
    project = together.project()
    return replace(
        project,
        name="+".join(each.name for each in alone),
        description="",
        tests=tuple(test for each in alone for test in each.tests),
    )


def load_each(
    files: Sequence[str | os.PathLike[str]],
    environment: Mapping[str, str] | None = None,
    *,
    profile: str | None = None,
) -> list[Project]:
    """Read files, each as a project of its own. A profile is chosen in those that have it.

    Raises ConfigError that holds the mistakes of all of them.
    """
    found = [examine([file], environment, profile) for file in files]
    if profile is not None and any(profile in each.profiles for each in found):
        # One has it, so it is no mistake that others have not.
        found = [
            each if profile in each.profiles else examine([file], environment)
            for file, each in zip(files, found, strict=True)
        ]
    if mistakes := [mistake for each in found for mistake in each.mistakes]:
        raise ConfigError(mistakes, [file for each in found for file in each.files])
    return [each.project() for each in found]


@frozen
class Examined:
    """What came of looking at some files: everything wrong with them, or else the project."""

    mistakes: tuple[Mistake, ...]
    warnings: tuple[Mistake, ...]
    #: Absolute paths of all files that were read or looked for, the one that was named first.
    files: tuple[str, ...]
    #: The names of the profiles that there are.
    profiles: tuple[str, ...]
    made: Project | None = None

    def project(self) -> Project:
        """Give the project. Raises ConfigError where there are mistakes."""
        if self.made is None:
            raise ConfigError(self.mistakes, self.files)
        return self.made


def examine(
    files: Sequence[str | os.PathLike[str]],
    environment: Mapping[str, str] | None = None,
    profile: str | None = None,
    *,
    alone: bool = True,
) -> Examined:
    """Read and check files, as one. Blocks while it reads; what is wrong with them is in what it gives.

    Without `alone` they are known to be right by themselves, and only what is between them is of interest.
    """
    from rx_collector.config.variables import Variables
    from rx_collector.pipeline.composition import compose  # PyYAML: not needed by those who compose in Python

    # The shells know HOSTNAME and do not export it.
    known = {"HOSTNAME": os.uname().nodename, **(os.environ if environment is None else environment)}
    variables = Variables(known)
    found = compose([os.fspath(file) for file in files], variables, profile)
    document = found.document
    mistakes = list(found.mistakes)
    spec: Any = INVALID
    if isinstance(document.value, Mapping):
        scope = Scope(document)
        spec = FileSpec.from_value(document.value, scope)
        mistakes += scope.mistakes
        mistakes += _check_sources(document) if found.complete else []
        if alone and found.complete and document.value.get("tests"):
            from rx_collector.pipeline.cases import check_names

            mistakes += check_names(document)
        if spec is not INVALID:
            mistakes += [
                document.mistake(path, message, example="file: {path: another.ndjson, rotate: {size: 100MB}}")
                for path, message in _check_outputs(spec.pipelines)
            ]
    if mistakes:
        return Examined(tuple(_in_order(mistakes, found.names, variables)), (), found.files, found.profiles)
    warnings = [
        *(*found.warnings, *scope.warnings),
        *_unused(document, spec, found.own_runners),
        *_idle_workers(document, spec),
    ]
    warnings = [replace(warning, warning=True) for warning in _in_order(warnings, found.names, variables)]
    runners = {
        name: runner if runner.cwd is not None else replace(runner, cwd=document.directory(("runners", name)))
        for name, runner in spec.runners.items()
    }
    project = Project(
        spec.title or os.path.splitext(os.path.basename(files[0]))[0],
        runners,
        spec.pipelines,
        spec.description or "",
        spec.tests,
        variables.redact,
        found.files,
        tuple(warnings),
    )
    return Examined((), tuple(warnings), found.files, found.profiles, project)


def _in_order(mistakes: Iterable[Mistake], files: Sequence[str], variables: Variables) -> list[Mistake]:
    """Sort by place, and say the same thing about the same place once: without a use, where it arises without one.

    What was said before all secrets were known is redacted now.
    """
    unique: dict[tuple[Any, ...], Mistake] = {}
    for mistake in mistakes:
        key = (mistake.file, mistake.line, mistake.column, mistake.message.partition(USED_AT)[0])
        if key not in unique or len(mistake.message) < len(unique[key].message):
            unique[key] = mistake
    redacted = [
        replace(
            mistake,
            message=variables.redact(mistake.message),
            source=mistake.source if variables.redact(mistake.source or "") == (mistake.source or "") else None,
        )
        for mistake in unique.values()
    ]
    order = {file: index for index, file in enumerate(files)}
    return sorted(redacted, key=lambda mistake: (order.get(mistake.file or "", 0), mistake.line, mistake.column))


def _unused(document: Document, spec: FileSpec, own: Iterable[str]) -> list[Mistake]:
    """Find the runners that no pipeline reads and no sink feeds. Those of an included file are there for whom they fit."""
    used = {source for pipeline in spec.pipelines.values() for source in pipeline.reads}
    used |= {
        branch.sink.runner
        for pipeline in spec.pipelines.values()
        for branch in pipeline.sinks
        if isinstance(branch.sink, Stdin)
    }
    return [
        document.mistake(
            ("runners", name),
            f"no pipeline reads this runner, so it is not started; one does with from: {name}",
            on_key=True,
            example=f"from: [{name}]",
        )
        for name in own
        if name in spec.runners and not used & {name, lifecycle_of(name)}
    ]


def _idle_workers(document: Document, spec: FileSpec) -> list[Mistake]:
    """Find workers that get nothing to do: it is lines that are shared out, and a pipeline has none."""
    return [
        document.mistake(
            ("pipelines", name, "workers"),
            "the workers get nothing to do: they share lines of runners, and this reads "
            f"{'a pipeline' if len(pipeline.sources) == 1 else 'pipelines'}",
            on_key=True,
            example="workers: 1",
        )
        for name, pipeline in spec.pipelines.items()
        if pipeline.workers > 1 and not set(spec.runners) & set(pipeline.sources)
    ]


def _check_sources(document: Document) -> list[Mistake]:
    """Check that what `from` names is there, that nothing feeds itself, and that every pipeline leads somewhere.

    It looks at the plain values, so that these mistakes are found beside those that keep a part from being converted.
    """
    runners, pipelines = document.value.get("runners"), document.value.get("pipelines")
    if not isinstance(runners, Mapping) or not isinstance(pipelines, Mapping):
        return []
    mistakes: list[Mistake] = []
    lifecycles = {lifecycle_of(str(name)) for name in runners}
    branches = _branches(pipelines)
    fed = _check_fed(document, runners, pipelines, mistakes)
    feeds: dict[str, list[str]] = {}
    for name, pipeline in pipelines.items():
        path = ("pipelines", name)
        if name in runners:
            runner = document.key_place(("runners", name))
            elsewhere = "" if runner.startswith(f"{document.mistake(path, '').file}:") else f", at {runner}"
            message = f"{name!r} is the name of a runner, too{elsewhere}"
            mistakes.append(document.mistake(path, message, on_key=True, example=FileSpec.example))
        if not isinstance(pipeline, Mapping):
            continue
        feeds[name] = []
        named: set[str] = set()
        for source, at, form in _read_by(pipeline, path):
            if source in runners and source in pipelines:
                continue  # which of the two is meant cannot be told, and is said already
            if source in named and form.startswith("from"):
                mistakes.append(document.mistake(at, f"{source!r} is named twice", example=_FROM))
                continue
            named.add(source)
            if source in lifecycles and source not in runners and source not in pipelines:
                continue
            if source in branches and source not in runners and source not in pipelines:
                branches[source].append(name)
                feeds[name].append(source.rpartition(".")[0])
                continue
            if source not in runners and source not in pipelines:
                more = [*lifecycles, *branches] if "." in source else []
                known = did_you_mean(source, [*runners, *pipelines, *more])
                everything = [*runners, *pipelines, *lifecycles, *branches]
                meant = nearest(source, everything) or next(iter(runners), "load")
                import json

                plain = meant if meant.replace("_", "a").replace(".", "a").isalnum() else json.dumps(meant)
                problem = f"no runner or pipeline {source!r}{known}"
                mistakes.append(document.mistake(at, problem, example=form.format(plain)))
            else:
                feeds[name].append(source)
    mistakes += [
        document.mistake(
            path,
            f"no pipeline reads this branch; one does with from: {source}",
            on_key=True,
            example=f"from: {source}",
        )
        for (source, readers), path in zip(branches.items(), _places(pipelines), strict=True)
        if not readers
    ]
    read = {source for sources in feeds.values() for source in sources}
    for runner, pipeline in fed.items():
        feeds[runner] = [pipeline]
    for name, pipeline in pipelines.items():
        if isinstance(pipeline, Mapping) and not pipeline.get("sinks") and name not in read:
            mistakes.append(
                document.mistake(
                    ("pipelines", name),
                    "it has no sink, and no other pipeline reads it",
                    on_key=True,
                    example=PipelineSpec.example,
                )
            )
        cycle = _cycle(name, feeds)
        if cycle and name == min(pipelines.keys() & cycle):
            cycle.append(name)
            at = next(
                at
                for source, at, _ in _read_by(pipeline, ("pipelines", name))
                if (source.rpartition(".")[0] if source in branches else source) == cycle[1]
            )
            mistakes.append(document.mistake(at, f"it feeds itself: {' -> '.join(cycle)}", example=FileSpec.example))
    return mistakes


def _read_by(
    pipeline: Mapping[str, Any], path: tuple[str | int, ...]
) -> Iterator[tuple[str, tuple[str | int, ...], str]]:
    """Give all that a pipeline reads: its name, where it stands, and how it is written."""
    sources = pipeline.get("from")
    for index, source in enumerate(sources if isinstance(sources, list) else [sources]):
        if isinstance(source, str):
            yield source, (*path, "from", index) if isinstance(sources, list) else (*path, "from"), "from: [{}]"
    operators = pipeline.get("operators")
    for index, item in enumerate(operators if isinstance(operators, list) else ()):
        if not isinstance(item, Mapping):
            continue
        join, at = item.get("join"), (*path, "operators", index)
        if isinstance(join, Mapping) and isinstance(other := join.get("with"), str):
            yield other, (*at, "join", "with"), "join: {{with: {}, on: pid}}"
        merged = item.get("merge")
        for number, other in enumerate(merged if isinstance(merged, list) else [merged]):
            if isinstance(other, str):
                yield other, (*at, "merge", number) if isinstance(merged, list) else (*at, "merge"), "merge: [{}]"


def _routes(pipelines: Mapping[str, Any]) -> Iterator[tuple[str, tuple[str | int, ...], str]]:
    """Give each branch of each route: its pipeline, where it stands, and its name."""
    for name, pipeline in pipelines.items():
        operators = pipeline.get("operators") if isinstance(pipeline, Mapping) else None
        for index, item in enumerate(operators if isinstance(operators, list) else ()):
            route = item.get("route") if isinstance(item, Mapping) else None
            for branch in route if isinstance(route, Mapping) else ():
                yield str(name), ("pipelines", name, "operators", index, "route", branch), str(branch)


def _branches(pipelines: Mapping[str, Any]) -> dict[str, list[str]]:
    """Give the branches there are, as they are read, and room for who reads them."""
    return {branch_of(name, branch): [] for name, _, branch in _routes(pipelines)}


def _places(pipelines: Mapping[str, Any]) -> list[tuple[str | int, ...]]:
    """Give where each of these branches stands."""
    return list({branch_of(name, branch): path for name, path, branch in _routes(pipelines)}.values())


def _check_outputs(pipelines: Mapping[str, PipelineSpec]) -> list[tuple[tuple[str | int, ...], str]]:
    """Find files that two sinks write and one of them renames or empties: the other would not know of it."""
    found: dict[str, tuple[str, File]] = {}
    wrong: list[tuple[tuple[str | int, ...], str]] = []
    for name, pipeline in pipelines.items():
        branches: list[tuple[tuple[str | int, ...], Branch]]
        branches = [(("pipelines", name, "sinks", index), branch) for index, branch in enumerate(pipeline.sinks)]
        if pipeline.dead_letter is not None:
            branches.append((("pipelines", name, "dead_letter"), pipeline.dead_letter))
        for path, branch in branches:
            sink = branch.sink
            if not isinstance(sink, File):
                continue
            other = found.setdefault(sink.path, (name, sink))
            if other[1] is not sink and (sink.exclusive or other[1].exclusive):
                wrong.append(
                    (
                        (*path, "file"),
                        f"another sink, of {other[0]!r}, writes this file, too, and one of them rotates, "
                        "empties or compresses it",
                    )
                )
    return wrong


def _check_fed(
    document: Document, runners: Mapping[str, Any], pipelines: Mapping[str, Any], mistakes: list[Mistake]
) -> dict[str, str]:
    """Check the sinks that write to a runner's standard input; give the pipeline that each such runner reads."""
    fed: dict[str, str] = {}
    for name, pipeline in pipelines.items():
        sinks = pipeline.get("sinks") if isinstance(pipeline, Mapping) else None
        for index, item in enumerate(sinks if isinstance(sinks, list) else ()):
            if not isinstance(item, Mapping) or "stdin" not in item:
                continue
            value = item["stdin"]
            path: tuple[str | int, ...] = ("pipelines", name, "sinks", index, "stdin")
            if isinstance(value, Mapping):
                value, path = value.get("runner"), (*path, "runner")
            if not isinstance(value, str):
                continue
            if value not in runners:
                mistakes.append(
                    document.mistake(path, f"no runner {value!r}{did_you_mean(value, runners)}", example=_FED)
                )
            elif value in fed:
                mistakes.append(document.mistake(path, f"{value!r} is fed by {fed[value]!r} already", example=_FED))
            elif isinstance(runners[value], Mapping) and runners[value].get("stdin") is not None:
                mistakes.append(
                    document.mistake(path, f"{value!r} says itself what it reads, by 'stdin'", example=_FED)
                )
            else:
                fed[value] = name
    return fed


def _cycle(name: str, feeds: Mapping[str, list[str]]) -> list[str]:
    """Give a way from a pipeline over its sources back to itself, if there is one."""
    ways = [[name]]
    seen = set()
    while ways:
        way = ways.pop()
        for source in feeds.get(way[-1], ()):
            if source == name:
                return way
            if source not in seen:
                seen.add(source)
                ways.append([*way, source])
    return []
