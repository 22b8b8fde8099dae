"""Templates: lists of operators with parameters, put in where a pipeline, or another template, uses them.

A value never changes the structure it is put into: a scalar that is nothing but ``${parameter}`` takes the value as it
is, a text with a parameter in it stays a text, and in an expression a parameter is a constant.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

from rx_collector.config.composed import Composed, Graft
from rx_collector.config.document import Document, Path
from rx_collector.config.options import ListOf, TextWithList, did_you_mean
from rx_collector.config.variables import Arguments
from rx_collector.errors import Mistake
from rx_collector.frozen import frozen
from rx_collector.later import pattern
from rx_collector.operators.placed import OperatorItem
from rx_collector.pipeline.spec import TemplateSpec
from rx_collector.stream.operator import OPERATORS

__all__ = ["Templates"]

# Bounds that no honest file meets: templates that use each other twice grow by powers of two.
_MOST_VALUES: Final = 20_000
_MOST_LEVELS: Final = 64
_EACH_USE: Final = 10  # as many values, though it may bring none
_WHOLE: Final = pattern(r"\$\{(\w+)\}")
_USE: Final = "use: {no_system: {below: 1000}}"
_ALONE: Final = "drop: ${fields}"


_Place: TypeAlias = tuple[Document, Path]


@frozen
class _Argument:
    """What a parameter stands for: a value in a document, and what stands for the parameters that it refers to."""

    document: Document
    path: Path
    frame: _Frame | None


@frozen
class _Frame:
    """One use of a template."""

    arguments: Mapping[str, _Argument | None]  # None for what is not known
    values: Arguments
    used: tuple[str, ...]  # where, the innermost first


class _TooMany(Exception):
    """The templates stand for too much."""


class Templates:
    """Puts the templates of a document in. It adds to `mistakes` what is wrong with the uses."""

    def __init__(self, whole: Composed, mistakes: list[Mistake], *, complete: bool = True) -> None:
        """Without `complete` a template that is not there may be in a file that could not be read."""
        self._complete = complete
        self._whole = whole
        self._mistakes = mistakes
        templates = whole.value.get("templates")
        #: As they were written, while those of `whole` change.
        self._templates: Mapping[str, Any] = templates if isinstance(templates, Mapping) else {}
        self._built = 0
        self._told = False  # that this is too much, or too deep
        self._unknown = False  # whether what was built since this was set to False holds something unknown
        self._uses = {name: list(_uses(self._body(name), ())) for name in self._templates}

    def _body(self, name: str) -> Any:
        template = self._templates[name]
        return template.get("operators") if isinstance(template, Mapping) else None

    def put_in(self) -> None:
        """Change the document: every list of operators gets those of the templates in the places of their uses."""
        value = self._whole.value
        if self._templates:
            self._check_cycles()
            value["templates"] = {name: self._defined(name) for name in self._templates}
        pipelines = value.get("pipelines")
        for name, pipeline in pipelines.items() if isinstance(pipelines, Mapping) else ():
            items = pipeline.get("operators") if isinstance(pipeline, Mapping) else None
            if isinstance(items, list) and any(_uses(items, ())):
                operators = self._operators_of(("pipelines", name, "operators"), items, None, ())
                pipelines[name] = {**pipeline, "operators": operators}

    def warnings(self, named: Sequence[Document]) -> list[Mistake]:
        """Give what has no use: templates of the files that were named, and parameters."""
        found = []
        pipelines = self._written("pipelines")
        lists = [pipeline.get("operators") for pipeline in pipelines.values() if isinstance(pipeline, Mapping)]
        used = {use for items in lists for use, _ in _uses(items, ())}
        used |= {use for uses in self._uses.values() for use, _ in uses}
        for name, template in self._templates.items():
            graft = self._whole.grafts[("templates", name)]
            if name not in used and any(graft.document is document for document in named):
                message = f"nothing uses this template; a pipeline does with use: {name}"
                found.append(self._whole.mistake(("templates", name), message, on_key=True, example=f"use: {name}"))
            parameters = template.get("parameters") if isinstance(template, Mapping) else None
            referred = set(_references(graft.document, ("templates", name, "operators"), self._body(name)))
            for parameter in parameters if isinstance(parameters, Mapping) else ():
                if parameter not in referred:
                    message = f"no operator refers to this parameter; one does with ${{{parameter}}}"
                    path = ("templates", name, "parameters", parameter)
                    found.append(graft.document.mistake(path, message, on_key=True, example=_ALONE))
        return found

    def _written(self, section: str) -> Mapping[str, Any]:
        """Give a section with the lists of operators as they were written."""
        found = {}
        for path, graft in self._whole.grafts.items():
            if len(path) == 2 and path[0] == section:
                found[str(path[1])] = graft.document.value[section][path[1]]
        return found

    def _check_cycles(self) -> None:
        for name in self._templates:
            way = self._way_back(name)
            if way and name == min(way):
                path = next(path for use, path in self._uses[name] if use == [*way, name][1])
                circle = " -> ".join([*way, name])
                at = ("templates", name, "operators", *path)
                self._mistakes.append(
                    self._whole.mistake(at, f"the template uses itself: {circle}", example=TemplateSpec.example)
                )

    def _way_back(self, name: str) -> list[str]:
        """Give a way from a template over those that it uses back to itself, if there is one."""
        ways, seen = [[name]], set()
        while ways:
            way = ways.pop()
            for use, _ in self._uses.get(way[-1], ()):
                if use == name:
                    return way
                if use not in seen:
                    seen.add(use)
                    ways.append([*way, use])
        return []

    # Where templates are declared and used

    def _defined(self, name: str) -> Any:
        """Give a template as it is by itself: with the defaults of its parameters, all others being unknown."""
        template, items = self._templates[name], self._body(name)
        if not isinstance(items, list):
            return template
        graft = self._whole.grafts[("templates", name)]
        frame = self._frame(name, {}, None, ())
        path: Path = ("templates", name, "operators")
        return {**template, "operators": self._operators_of(path, items, frame, (name,), graft.document)}

    def _operators_of(
        self,
        path: Path,
        items: list[Any],
        frame: _Frame | None,
        ways: tuple[str, ...],
        document: Document | None = None,
    ) -> list[Any]:
        """Give a list of operators of the document with everything put in."""
        if document is None:
            graft, there = self._whole.origin(path)
            assert graft is not None
            document, written = graft.document, there
        else:
            written = path
        try:
            return self._operators(document, written, items, frame, (path, 0), ways)
        except _TooMany:
            self._whole.broken.add(path)
            if self._told:
                return []
            self._told = True
            message = f"the templates stand for more than {_MOST_VALUES:,} values; write less with them"
            self._mistakes.append(self._whole.mistake(path, message, on_key=True, example=_USE))
            return []

    def _operators(
        self,
        document: Document,
        path: Path,
        items: list[Any],
        frame: _Frame | None,
        at: tuple[Path, int],
        ways: tuple[str, ...],
        prefix: str = "",
    ) -> list[Any]:
        """Give the operators that some items stand for, and put down where each of them is from.

        `at` is the list that they become a part of, and the index of the first of them there.
        """
        made: list[Any] = []
        target, start = at
        numbered = bool(prefix) or any(_name_of(item) is not None for item in items)
        for index, item in enumerate(items):
            here: Path = (*path, index)
            position = f"{prefix}[{index}]"
            if isinstance(item, Mapping) and len(item) == 1 and "use" in item:
                place = (target, start + len(made))
                operators = self._used(document, (*here, "use"), item["use"], frame, place, ways, position)
                if operators is None:
                    self._whole.broken.add(target)  # what the list lacks is no mistake of its own
                made += operators or []
                continue
            there: Path = (*target, start + len(made))
            self._graft(there, document, here, frame)
            if numbered:
                self._whole.positions[there] = position
            made.append(self._item(document, here, item, frame, there, ways))
        if items and not made:
            self._whole.broken.add(target)  # that a template has no operators is said of it alone
        return made

    def _item(
        self, document: Document, path: Path, item: Any, frame: _Frame | None, target: Path, ways: tuple[str, ...]
    ) -> Any:
        """Give one operator; the lists of operators within it are dealt with like that of a pipeline."""
        inner = _inner_lists(item)
        if not inner:
            return self._build(document, path, item, frame, target) if frame is not None else item
        result: dict[str, dict[str, Any]] = {}
        for name, options in item.items():
            result[name] = {}
            for key, value in options.items():
                below, there = (*path, name, key), (*target, name, key)
                if (name, key) in inner:
                    result[name][key] = self._operators(document, below, value, frame, (there, 0), ways)
                else:
                    result[name][key] = self._build(document, below, value, frame, there)
        return result

    def _used(
        self,
        document: Document,
        path: Path,
        use: Any,
        frame: _Frame | None,
        at: tuple[Path, int],
        ways: tuple[str, ...],
        position: str,
    ) -> list[Any] | None:
        """Give the operators of the template that is used here; None, and a mistake, where that cannot be."""
        if isinstance(use, str):
            name: str = use
            given: Any = {}
        elif isinstance(use, Mapping) and len(use) == 1:
            ((name, given),) = use.items()
            path = (*path, name)
            given = {} if given is None else given
        else:
            self._wrong(document, path, "a template and its parameters are wanted here, as in use: {name: {…}}", frame)
            return None
        if name not in self._templates:
            if not self._complete:
                return None
            hint = did_you_mean(name, self._templates) if self._templates else "; there is none"
            self._wrong(document, path, f"no template {name!r}{hint}", frame, on_key=path[-1] == name)
            return None
        if not isinstance(given, Mapping):
            self._wrong(document, path, f"the parameters of {name!r} are wanted here, as a mapping", frame)
            return None
        if name in ways:
            return None  # it was said when the templates were looked at
        self._count(_EACH_USE)
        if len(ways) >= _MOST_LEVELS:
            if not self._told:
                self._told = True
                message = f"templates use each other too deeply; {_MOST_LEVELS} levels are the limit"
                self._wrong(document, path, message, frame)
            return None
        parameters = self._parameters(name)
        wrong = False
        for key in given:
            if key not in parameters:
                hint = did_you_mean(key, parameters) if parameters else "; it has none"
                message = f"the template {name!r} has no parameter {key!r}{hint}"
                self._wrong(document, (*path, key), message, frame, on_key=True)
                wrong = True
        missing = [key for key, default in parameters.items() if default is None and key not in given]
        if missing:
            names = ", ".join(map(repr, missing))
            self._wrong(document, path, f"the template {name!r} needs {names}", frame, on_key=path[-1] == name)
            wrong = True
        items = self._body(name)
        if wrong or not isinstance(items, list):
            return None
        arguments = {key: _Argument(document, (*path, key), frame) for key in given}
        outer = frame.used if frame is not None else ()
        inner = self._frame(name, arguments, frame, (document.place_of(path), *outer))
        graft = self._whole.grafts[("templates", name)]
        body: Path = ("templates", name, "operators")
        return self._operators(graft.document, body, items, inner, at, (*ways, name), f"{position} {name}")

    def _wrong(
        self, document: Document, path: Path, message: str, frame: _Frame | None, *, on_key: bool = False
    ) -> None:
        if not document.is_broken(path):
            suffix = Graft(document, path, frame.used).suffix if frame is not None else ""
            self._mistakes.append(document.mistake(path, message + suffix, on_key=on_key, example=_USE))

    def _parameters(self, name: str) -> Mapping[str, Any]:
        template = self._templates[name]
        parameters = template.get("parameters") if isinstance(template, Mapping) else None
        return parameters if isinstance(parameters, Mapping) else {}

    def _frame(self, name: str, given: Mapping[str, _Argument], outer: _Frame | None, used: tuple[str, ...]) -> _Frame:
        document = self._whole.grafts[("templates", name)].document
        arguments: dict[str, _Argument | None] = {}
        values: dict[str, tuple[Any, str | None]] = {}
        for key, default in self._parameters(name).items():
            argument = given.get(key)
            if argument is None and default is not None:
                argument = _Argument(document, ("templates", name, "parameters", key), None)
            if argument is not None:
                self._unknown = False
                value = self._value_of(argument)
                if self._unknown or isinstance(value, TextWithList):
                    argument = None
                else:
                    values[key] = value, _as_text(value, argument)
            arguments[key] = argument
        return _Frame(arguments, Arguments(values, self._whole.variables), used)

    # Values

    def _value_of(self, argument: _Argument) -> Any:
        return self._build(argument.document, argument.path, _at(argument), argument.frame, None)

    def _count(self, values: int) -> None:
        self._built += values
        if self._built > _MOST_VALUES:
            raise _TooMany

    def _graft(self, target: Path | None, document: Document, path: Path, frame: _Frame | None, **more: Any) -> None:
        if target is not None:
            used, values = (frame.used, frame.values) if frame is not None else ((), None)
            self._whole.grafts[target] = Graft(document, path, used, values, **more)

    def _build(
        self,
        document: Document,
        path: Path,
        value: Any,
        frame: _Frame | None,
        target: Path | None,
        put_in: _Place | None = None,
    ) -> Any:
        """Give a value with parameters put in, and put down at `target` (if there is one) where its parts are from."""
        if frame is not None:
            self._count(1)
        if document.is_broken(path):
            self._unknown = True

        def below(key: str | int, item: Any) -> Any:
            return self._build(
                document, (*path, key), item, frame, (*target, key) if target is not None else None, put_in
            )

        if isinstance(value, Mapping):
            return {key: below(key, item) for key, item in value.items()}
        if isinstance(value, list):
            return [below(index, item) for index, item in enumerate(value)]
        if frame is not None and isinstance(value, str) and (names := document.references(path)):
            return self._referring(document, path, value, names, frame, target, put_in)
        return value

    def _referring(
        self,
        document: Document,
        path: Path,
        text: str,
        names: frozenset[str],
        frame: _Frame,
        target: Path | None,
        put_in: _Place | None,
    ) -> Any:
        """Give the value of a scalar that refers to parameters."""
        if any(frame.arguments.get(name) is None for name in names):
            self._unknown = True
            if target is not None:
                self._whole.broken.add(target)
            return text
        whole = _WHOLE.fullmatch(text)
        if whole is not None and (argument := frame.arguments.get(whole[1])) is not None:
            put_in = put_in or (document, path)
            self._graft(target, argument.document, argument.path, argument.frame, put_in=put_in)
            return self._build(argument.document, argument.path, _at(argument), argument.frame, target, put_in)
        try:
            expanded = frame.values.expand(text)
        except ValueError:
            self._graft(target, document, path, frame, put_in=put_in)
            return TextWithList()
        self._graft(target, document, path, frame, put_in=put_in, expanded=expanded)
        try:
            return document.resolve(path, expanded)
        except ValueError as error:
            self._wrong(document, path, str(error), frame)
            if target is not None:
                self._whole.broken.add(target)
            return expanded


def _at(argument: _Argument) -> Any:
    value = argument.document.value
    for key in argument.path:
        value = value[key]
    return value


def _as_text(value: Any, argument: _Argument) -> str | None:
    """Give what a value is within a text; None where it cannot stand in one."""
    if isinstance(value, Mapping | list):
        return None
    if isinstance(value, str) or value is None:
        return value or ""
    place = argument.document.place(argument.path)
    if place is not None and place.expanded is not None and not argument.document.references(argument.path):
        return place.expanded  # 0.50 stays 0.50
    return str(value).lower() if isinstance(value, bool) else str(value)


def _name_of(item: Any) -> str | None:
    """Give the name of the template that an item uses; None for any other item."""
    if not isinstance(item, Mapping) or len(item) != 1 or "use" not in item:
        return None
    use = item["use"]
    if isinstance(use, Mapping):
        use = next(iter(use), None)
    return use if isinstance(use, str) else ""


def _inner_lists(item: Any) -> set[tuple[str, str]]:
    """Give the operator and the option of each list of operators within an operator."""
    found = set()
    for name, options in item.items() if isinstance(item, Mapping) else ():
        if name not in OPERATORS or not isinstance(options, Mapping):
            continue
        for key, field in OPERATORS[name].options().items():
            kind = field.metadata["kind"]
            if isinstance(kind, ListOf) and isinstance(kind.kind, OperatorItem) and isinstance(options.get(key), list):
                found.add((name, key))
    return (
        found if isinstance(item, Mapping) and all(isinstance(options, Mapping) for options in item.values()) else set()
    )


def _uses(items: Any, path: Path) -> Iterator[tuple[str, Path]]:
    """Give the templates that a list of operators uses, with where each is named in the list."""
    for index, item in enumerate(items if isinstance(items, list) else ()):
        if (name := _name_of(item)) is not None:
            more = (name,) if isinstance(item["use"], Mapping) and name else ()
            yield name, (*path, index, "use", *more)
        for operator, key in _inner_lists(item):
            yield from _uses(item[operator][key], (*path, index, operator, key))


def _references(document: Document, path: Path, value: Any) -> Iterator[str]:
    """Give the parameters to which the scalars below a path refer."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _references(document, (*path, key), item)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _references(document, (*path, index), item)
    else:
        yield from document.references(path)
