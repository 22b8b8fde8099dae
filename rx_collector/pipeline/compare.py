"""What differs between two descriptions of a project: what has to be started, stopped or put together anew."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from graphlib import TopologicalSorter

from rx_collector.frozen import frozen
from rx_collector.pipeline.project import Project, branch_of, lifecycle_of
from rx_collector.pipeline.spec import Branch, PipelineSpec
from rx_collector.sinks.file import File
from rx_collector.sinks.stdin import Stdin

__all__ = ["Difference", "in_order", "names", "same_branch", "same_file", "same_pipeline", "shared_files", "used"]


def same_branch(one: Branch, other: Branch) -> bool:
    """Tell whether two branches are described alike, wherever they stand in their files."""
    return replace(one, place="") == replace(other, place="")


def same_pipeline(one: PipelineSpec, other: PipelineSpec) -> bool:
    """Tell whether two pipelines are described alike, wherever they stand in their files."""
    ours, theirs = list(_branches(one)), list(_branches(other))
    return (
        one.sources == other.sources
        and one.workers == other.workers
        and [placed.operator for placed in one.operators] == [placed.operator for placed in other.operators]
        and len(one.sinks) == len(other.sinks)
        and len(ours) == len(theirs)
        and all(map(same_branch, ours, theirs))
    )


def _branches(spec: PipelineSpec) -> Iterator[Branch]:
    yield from spec.sinks
    if spec.dead_letter is not None:
        yield spec.dead_letter


def _fed(project: Project) -> dict[str, tuple[str, Branch]]:
    """Give the runners that a sink writes to: the pipeline it is in, and the branch."""
    return {
        branch.sink.runner: (name, branch)
        for name, spec in project.pipelines.items()
        for branch in spec.sinks
        if isinstance(branch.sink, Stdin)
    }


def used(project: Project) -> set[str]:
    """Give the runners that a pipeline reads or that a sink writes to; only they are started."""
    read = {source for spec in project.pipelines.values() for source in spec.reads}
    feeds = _fed(project)
    return {name for name in project.runners if {name, lifecycle_of(name)} & read or name in feeds}


def names(project: Project) -> dict[str, str]:
    """Give all that can be read, and what sort of thing it is."""
    found = dict.fromkeys(project.runners, "runner")
    found |= {lifecycle_of(name): "lifecycle of a runner" for name in project.runners}
    for name, spec in project.pipelines.items():
        found[name] = "pipeline"
        found |= {branch_of(name, way): "branch of a pipeline" for way in spec.branches}
    return found


def in_order(project: Project) -> list[str]:
    """Give all runners and pipelines, each after all that it gets its events from.

    >>> from rx_collector.pipeline.spec import PipelineSpec
    >>> in_order(Project("x", {"a": None}, {"two": PipelineSpec(["one"]), "one": PipelineSpec(["a"])}))
    ['a', 'one', 'two']
    """
    sorts = names(project)
    before: dict[str, set[str]] = {name: set() for name in [*project.runners, *project.pipelines]}
    for name, spec in project.pipelines.items():
        for source in spec.reads:
            if sorts[source] == "lifecycle of a runner":
                source = source.removesuffix(".lifecycle")
            elif sorts[source] == "branch of a pipeline":
                source = source.rpartition(".")[0]
            before[name].add(source)
    for runner, (pipeline, _) in _fed(project).items():
        before[runner].add(pipeline)
    return list(TopologicalSorter(before).static_order())


@frozen
class Difference:
    """From `old` to `new`: which runners are stopped and started, and which pipelines are put together anew.

    A runner that no pipeline reads any more is stopped, one that is read now is started. `refusals` says in words what
    cannot be done while it runs.
    """

    old: Project
    new: Project
    stop: tuple[str, ...]
    start: tuple[str, ...]
    pipelines: tuple[str, ...]  # those that are new or described otherwise
    gone: tuple[str, ...]  # pipelines
    refusals: tuple[str, ...]

    @classmethod
    def between(cls, old: Project, new: Project, seen: Mapping[str, str]) -> Difference:
        """Compare; `seen` has the names, with their sorts, of all that was there since the beginning of the run."""
        before, after = used(old), used(new)
        same = {name for name in before & after if old.runners[name] == new.runners[name]}
        pipelines = tuple(
            name
            for name, spec in new.pipelines.items()
            if name not in old.pipelines or not same_pipeline(old.pipelines[name], spec)
        )
        stop = tuple(name for name in old.runners if name in before - same)
        start = tuple(name for name in new.runners if name in after - same)
        gone = tuple(name for name in old.pipelines if name not in new.pipelines)
        refusals = (*_other_sorts(new, seen), *_other_feeds(old, new, stop, start))
        return cls(old, new, stop, start, pipelines, gone, refusals)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to be done."""
        named = self.old.runners.keys() == self.new.runners.keys()
        return named and not (self.stop or self.start or self.pipelines or self.gone)

    def __str__(self) -> str:
        """Say what it comes to, in one line."""
        said = []
        old, new = self.old, self.new
        touched = {*self.pipelines, *self.gone}
        for sort, words in (
            (
                "runner",
                {
                    "added": [name for name in new.runners if name not in old.runners],
                    "changed": [name for name in self.start if name in self.stop],
                    "started": [name for name in self.start if name in old.runners and name not in self.stop],
                    "stopped": [name for name in self.stop if name in new.runners and name not in self.start],
                    "removed": [name for name in old.runners if name not in new.runners],
                    "kept": [name for name in new.runners if name not in {*self.start, *self.stop}],
                },
            ),
            (
                "pipeline",
                {
                    "added": [name for name in self.pipelines if name not in old.pipelines],
                    "changed": [name for name in self.pipelines if name in old.pipelines],
                    "removed": list(self.gone),
                    "kept": [name for name in new.pipelines if name not in touched],
                },
            ),
        ):
            for what, those in words.items():
                those = [name for name in those if what != "kept" or name in getattr(old, f"{sort}s")]
                if those:
                    said.append(f"{sort}{'' if len(those) == 1 else 's'} {', '.join(those)} {what}")
        return "; ".join(said)


def _other_sorts(new: Project, seen: Mapping[str, str]) -> Iterator[str]:
    for name, sort in names(new).items():
        if name in seen and seen[name] != sort:
            yield f"{name!r} was the name of a {seen[name]} in this run, and is that of a {sort} now"


def _other_feeds(old: Project, new: Project, stop: tuple[str, ...], start: tuple[str, ...]) -> Iterator[str]:
    """A child reads its standard input from its start on, so who feeds it cannot change while it runs."""
    before, after = _fed(old), _fed(new)
    for runner, (pipeline, branch) in before.items():
        now = after.get(runner)
        if runner in stop or now is None or now[0] != pipeline or not same_branch(now[1], branch):
            yield f"the pipeline {pipeline!r} feeds the runner {runner!r}, and one of the two is changed or removed"
    for runner, (pipeline, _) in after.items():
        if runner not in before and (runner not in start or runner in stop):
            yield f"the pipeline {pipeline!r} is to feed the runner {runner!r}, which runs already"


def same_file(branch: Branch, other: Branch) -> bool:
    """Tell whether two branches write to one file."""
    return isinstance(branch.sink, File) and isinstance(other.sink, File) and branch.sink.path == other.sink.path


def shared_files(branch: Branch, running: Branch) -> str | None:
    """Give the file that a new branch could not have while the one that is running does, if there is any."""
    spills = [getattr(one.backpressure.strategy, "path", None) for one in (branch, running)]
    if spills[0] is not None and spills[0] == spills[1]:
        return str(spills[0])
    ours, theirs = branch.sink, running.sink
    if isinstance(ours, File) and isinstance(theirs, File) and ours.path == theirs.path:
        return ours.path if ours.exclusive or theirs.exclusive else None
    return None
