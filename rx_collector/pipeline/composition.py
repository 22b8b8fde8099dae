"""Files put together: what they include, the profile that is chosen, and their templates in the places of their uses.

All of it is done on plain values, before anything is checked: what comes out is one document, whose parts know where they
stand. Files are read from the local disk and nowhere else, as they say which programs are started.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from rx_collector.config.composed import Composed, Graft
from rx_collector.config.document import Document, Path, read_document
from rx_collector.config.options import Scope, did_you_mean, nearest
from rx_collector.config.variables import Variables
from rx_collector.errors import Mistake
from rx_collector.frozen import frozen
from rx_collector.pipeline.spec import FileSpec
from rx_collector.pipeline.templates import Templates

__all__ = ["Composition", "compose"]

_SECTIONS: Final = ("runners", "pipelines", "templates")
_MOST_LEVELS: Final = 64
_INCLUDE: Final = "include: [common.yaml]"


@frozen
class _Source:
    """A file that was read, with the profile in it, if it has that."""

    document: Document
    read: Document
    named: bool


@frozen
class Composition:
    """What files are together."""

    document: Composed
    mistakes: tuple[Mistake, ...]
    #: About what is there and has no use; complete only where there are no mistakes.
    warnings: tuple[Mistake, ...]
    #: Absolute paths of all files that were read or looked for, the first that was named at the top.
    files: tuple[str, ...]
    #: The names of these files as mistakes have them, in the same order.
    names: tuple[str, ...]
    #: The profiles that there are.
    profiles: tuple[str, ...]
    #: The runners of the files that were named, by themselves and not by others.
    own_runners: tuple[str, ...]
    #: False where a file could not be read: what it would have brought along is not missing.
    complete: bool


def compose(files: Sequence[str], variables: Variables, profile: str | None = None) -> Composition:
    """Read files and what they include, and put them together. Blocks while it reads; nothing is raised.

    The same file is read once, however many include it. Of a name that is taken twice the first stays.
    """
    return _Composer(variables, profile).compose(files)


class _Composer:
    def __init__(self, variables: Variables, profile: str | None) -> None:
        self._variables = variables
        self._profile = profile
        self._sources: list[_Source] = []  # each behind those that it includes
        self._names: dict[str, str] = {}  # how each file is named, by its absolute path
        self._read: set[str] = set()  # real paths
        self._profiles: list[str] = []
        self._mistakes: list[Mistake] = []
        self._complete = True

    def compose(self, files: Sequence[str]) -> Composition:
        for file in files:
            self._named(file)
        tops = [source for source in self._sources if source.named]
        top = next(source for source in tops if source.read.file == self._names[os.path.abspath(files[0])])
        whole = Composed(top.read.file, self._variables)
        whole.grafts[()] = Graft(top.document, ())
        complete = self._complete and all(isinstance(source.read.value, Mapping) for source in self._sources)
        if not complete:
            whole.broken.add(())
        if isinstance(top.document.value, Mapping):
            whole.value = {**top.document.value, **self._merged(whole, top.document.value)}
        if self._profile is not None and self._profile not in self._profiles:
            self._unknown_profile(top.read, self._profile)
        for source in self._sources:
            if source is not top:
                self._check_included(source)
        warnings: list[Mistake] = []
        if whole.value is not None:
            templates = Templates(whole, self._mistakes, complete=complete)
            templates.put_in()
            warnings = templates.warnings([source.document for source in tops])
        self._mistakes += [mistake for source in self._sources for mistake in source.read.mistakes]
        return Composition(
            whole,
            tuple(self._mistakes),
            tuple(warnings),
            tuple(self._names),
            tuple(self._names.values()),
            tuple(self._profiles),
            tuple(name for source in tops for name in _mapping(_mapping(source.document.value).get("runners"))),
            complete,
        )

    # Files

    def _named(self, name: str) -> None:
        """Read a file of the command line. One that another of them includes was read already, and is now named, too."""
        real = os.path.realpath(name)
        if real not in self._read:
            self._load(name, [])
            return
        index = next(n for n, source in enumerate(self._sources) if os.path.realpath(source.read.file) == real)
        source = self._sources[index]
        if source.named:
            example = f"rx-collector run {name}"
            self._mistakes.append(source.read.mistake((), "the file is named twice", example=example))
        self._sources[index] = replace(source, named=True)

    def _load(self, name: str, way: list[str]) -> None:
        """Read a file and those that it includes; `way` is how it was come by."""
        self._names.setdefault(os.path.abspath(name), name)
        self._read.add(os.path.realpath(name))
        read = read_document(name, self._variables)
        for path, item in _included(read):
            self._include(read, path, item, [*way, name])
        self._sources.append(_Source(self._with_profile(read), read, not way))

    def _include(self, document: Document, path: Path, item: str, way: list[str]) -> None:
        def wrong(message: str) -> None:
            self._complete = False
            self._mistakes.append(document.mistake(path, message, example=_INCLUDE))

        if document.is_broken(path):
            self._complete = False
            return
        if "://" in item:
            wrong("only files of this machine are included, and nothing from elsewhere")
            return
        if not item or "\0" in item:
            wrong("the name of a file is wanted here")
            return
        name = os.path.normpath(os.path.join(os.path.dirname(document.file), os.path.expanduser(item)))
        real = os.path.realpath(name)
        before = [os.path.realpath(file) for file in way]
        if real in before:
            circle = " -> ".join([*way[before.index(real) :], name])
            wrong(f"the file includes itself: {circle}")
        elif real in self._read:
            return
        elif len(way) >= _MOST_LEVELS:
            wrong(f"files include each other too deeply; {_MOST_LEVELS} levels are the limit")
        elif os.path.isfile(name):
            self._load(name, way)
        else:
            self._names.setdefault(os.path.abspath(name), name)
            if os.path.isdir(name):
                wrong(f"{name} is a directory; a file is wanted")
            elif os.path.exists(name):
                wrong(f"{name} is no ordinary file")
            else:
                wrong(f"no such file: {name}{_patterns(item) or _did_you_mean_file(name)}")

    def _check_included(self, source: _Source) -> None:
        """Check what an included file says beside what it brings along: its own keys, and its tests, which stay there."""
        value = source.document.value
        if not isinstance(value, Mapping):
            return
        options = FileSpec.options()
        scope = Scope(source.document, mistakes=self._mistakes).like(FileSpec.example)
        for key, item in value.items():
            if key not in options:
                FileSpec.unknown_key(key, scope)
            elif key in _SECTIONS and isinstance(item, Mapping):
                continue  # it is checked with those of the others
            elif item is not None or options[key].default is not None:
                options[key].metadata["kind"].convert(item, scope.child(key))

    # Profiles

    def _with_profile(self, read: Document) -> Document:
        profiles = _mapping(_mapping(read.value).get("profiles"))
        self._profiles += [name for name in profiles if name not in self._profiles]
        overlay = profiles.get(self._profile) if self._profile is not None else None
        if not isinstance(overlay, Mapping) or not overlay:
            return read
        document = Composed(read.file, self._variables)
        document.grafts[()] = Graft(read, ())
        there: Path = ("profiles", str(self._profile))
        known = {key: item for key, item in overlay.items() if key in FileSpec.in_profiles()}
        document.value = _laid_over(read.value, known, document, read, (), there)
        return document

    def _unknown_profile(self, document: Document, profile: str) -> None:
        if self._profiles:
            hint = did_you_mean(profile, self._profiles)
            example = (
                f"rx-collector run --profile {nearest(profile, self._profiles) or self._profiles[0]} pipelines.yaml"
            )
        else:
            hint = "; the file has none"
            example = "profiles:\n  dev:\n    runners:\n      load: {command: [cat, load.txt]}"
        message = f"no profile {profile!r}{hint}"
        self._mistakes.append(document.mistake(("profiles",), message, on_key=True, example=example))

    # Names

    def _merged(self, whole: Composed, top: Mapping[str, Any]) -> dict[str, Any]:
        """Give the sections of all files as one each. What is no mapping is left for whoever checks it."""
        sections: dict[str, Any] = {}
        for section in _SECTIONS:
            if section in top and not isinstance(top[section], Mapping):
                continue
            merged: dict[str, Any] = {}
            for source in self._sources:
                for name, item in _mapping(_mapping(source.document.value).get(section)).items():
                    path: Path = (section, name)
                    if name in merged:
                        taken = whole.key_place(path)
                        message = f"the name {name!r} is taken already, at {taken}"
                        self._mistakes.append(
                            source.document.mistake(path, message, on_key=True, example=_RENAMED[section])
                        )
                        continue
                    merged[name] = item
                    whole.grafts[path] = Graft(source.document, path)
            if merged or section in top:
                sections[section] = merged
        return sections


_RENAMED: Final = {
    "runners": "runners:\n  other_load: {command: [vmstat, 5]}",
    "pipelines": "pipelines:\n  other: {from: load, sinks: [{console: {}, backpressure: block}]}",
    "templates": "templates:\n  other: {operators: [filter: uid > 0]}",
}


def _included(document: Document) -> Iterator[tuple[Path, str]]:
    """Give the files that a file includes, with where it says so."""
    value = _mapping(document.value).get("include")
    for index, item in enumerate(value if isinstance(value, list) else [value]):
        if isinstance(item, str):
            yield (("include", index) if isinstance(value, list) else ("include",)), item


def _patterns(item: str) -> str:
    return "; each file is included by its name, there are no patterns" if any(sign in item for sign in "*?[") else ""


def _did_you_mean_file(name: str) -> str:
    """Give ``, did you mean 'common.yaml'?`` for the file that is most like one that is not there, if any is."""
    directory = os.path.dirname(name)
    try:
        there = {
            os.path.splitext(entry.name)[0]: entry.name for entry in os.scandir(directory or ".") if entry.is_file()
        }
    except OSError:
        return ""
    near = nearest(os.path.splitext(os.path.basename(name))[0], there)
    return f", did you mean {os.path.join(directory, there[near])!r}?" if near is not None else ""


def _laid_over(value: Any, over: Any, document: Composed, read: Document, path: Path, there: Path) -> Any:
    """Give a value with another one over it: mappings are merged, all else takes the place, null takes a key away."""
    if not isinstance(value, Mapping) or not isinstance(over, Mapping):
        document.grafts[path] = Graft(read, there)
        return over
    result = dict(value)
    for key, item in over.items():
        if key in value and item is None:
            del result[key]
        elif key in value:
            result[key] = _laid_over(value[key], item, document, read, (*path, key), (*there, key))
        else:
            result[key] = item
            document.grafts[(*path, key)] = Graft(read, (*there, key))
    return result


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
