"""The one declaration of a component's options.

A component is a class below `Spec` that is `described`; each field is an `option(kind, doc, default)`. From that one
declaration come the validation of YAML and of Python calls, the JSON Schema, and what `list` and `describe` print. A kind
converts a plain value (from YAML or Python alike) and reports what is wrong to the `Scope` it is given; converting a value
that is converted already gives it back unchanged.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self, TypeVar, dataclass_transform, overload

from rx_collector.errors import ConfigError, Mistake
from rx_collector.frozen import Frozen
from rx_collector.later import later
from rx_collector.units import format_duration, format_size, parse_count, parse_duration, parse_size

if TYPE_CHECKING:
    from rx_collector.config.document import Document, Path

__all__ = [
    "BOOLEAN",
    "COUNT",
    "DURATION",
    "DURATION_RANGE",
    "INVALID",
    "PATH",
    "RATE",
    "REQUIRED",
    "SIZE",
    "TEXT",
    "Choice",
    "Deferred",
    "Either",
    "Kind",
    "ListOf",
    "MappingOf",
    "Nested",
    "Scope",
    "Spec",
    "TextWithList",
    "Unit",
    "described",
    "did_you_mean",
    "example_of",
    "nearest",
    "option",
    "schema_of",
]

#: What a kind gives back after it has reported a mistake.
INVALID: Final[Any] = type("Invalid", (), {"__repr__": lambda self: "INVALID"})()
_MOST_LISTED: Final = 20
#: The default of an option that has none.
REQUIRED: Final[Any] = dataclasses.MISSING


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Give the known name that is most like this one, None when none is near.

    >>> nearest("filtr", ["filter", "flatten"]), nearest("x", ["filter"])
    ('filter', None)
    """
    import difflib

    near = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.6)
    return near[0] if near else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Give ``, did you mean 'filter'?`` for the nearest known name, or the list of all where none is near."""
    names = sorted(known)
    if (near := nearest(name, names)) is not None:
        return f", did you mean {near!r}?"
    return f"; known: {', '.join(names)}" if 0 < len(names) <= _MOST_LISTED else ""


class TextWithList:
    """The value of a scalar into whose text a list or mapping was to be put: an expression can have that, a text not."""

    def __str__(self) -> str:
        return "a text with a list or mapping in it"


def plainly(value: object) -> str:
    """Name the type of a plain value the way the YAML's author would."""
    if isinstance(value, TextWithList):
        return str(value)
    for types, name in (
        (bool, "a boolean"),
        ((int, float), "a number"),
        (str, "a text"),
        (Mapping, "a mapping"),
        ((list, tuple), "a list"),
    ):
        if isinstance(value, types):
            return name
    return "nothing" if value is None else f"a {type(value).__name__}"


class Scope:
    """Where a value stands, and where mistakes about it are put.

    `document` is None for values from Python; then mistakes carry the path alone. `directory` is what relative paths
    are relative to (None: the working directory). `example` is the right form of what stands here, for mistakes.
    """

    def __init__(
        self,
        document: Document | None = None,
        path: Path = (),
        mistakes: list[Mistake] | None = None,
        directory: str | None = None,
        prefix: str = "",
        example: str = "",
        warnings: list[Mistake] | None = None,
    ) -> None:
        self.document = document
        self.path = path
        self.mistakes: list[Mistake] = [] if mistakes is None else mistakes
        self.warnings: list[Mistake] = [] if warnings is None else warnings
        self._directory = directory
        self.prefix = prefix
        self.example = example

    def child(self, key: str | int, example: str = "") -> Scope:
        """Give the scope of a member of this value; its example is that of this value unless given."""
        return self._with((*self.path, key), example)

    def like(self, example: str) -> Scope:
        """Give this scope with another example, if there is one."""
        return self._with(self.path, example)

    def _with(self, path: Path, example: str) -> Scope:
        example = example or self.example
        return Scope(self.document, path, self.mistakes, self._directory, self.prefix, example, self.warnings)

    def wrong(
        self, message: str, *, on_key: bool = False, inside: tuple[int, int] | None = None, example: str = ""
    ) -> Any:
        """Report a mistake here and give INVALID. `inside` is a line and column within a scalar's text."""
        if self.document is not None:
            if self.broken:
                return INVALID
            example = example or self.example
            self.mistakes.append(
                self.document.mistake(self.path, message, on_key=on_key, inside=inside, example=example)
            )
        else:
            where = self.prefix + "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in self.path)
            column = inside[1] + 1 if inside else 0
            at = f" (column {column})" if column else ""
            self.mistakes.append(Mistake(message + at, where.lstrip("."), example=example))
        return INVALID

    def likely_not_meant(self, message: str) -> None:
        """Report to `warnings` what is right, but likely not meant; a value from Python is taken as it is."""
        if self.document is not None:
            self.warnings.append(self.document.mistake(self.path, message, example=self.example))

    @property
    def broken(self) -> bool:
        """Whether the value here could not be known; the document has said why."""
        return self.document is not None and self.document.is_broken(self.path)

    @property
    def directory(self) -> str | None:
        """What relative paths here are relative to; None for the working directory."""
        of_document = self.document.directory(self.path) if self.document is not None else None
        return of_document if of_document is not None else self._directory

    def text(self) -> str | None:
        """Give the scalar as it was written, before variables were put in; None for values from Python."""
        place = self.document.place(self.path) if self.document is not None else None
        return place.text if place is not None else None

    def expanded(self) -> str | None:
        """Give the scalar as it was written, with variables put in; None for values from Python."""
        place = self.document.place(self.path) if self.document is not None else None
        return place.expanded if place is not None else None


class Kind:
    """What sort of value an option takes."""

    #: What is wanted, in words that follow "wanted is".
    wanted: str = "anything"
    #: True where YAML variables and types must not be applied before `convert` (expressions).
    takes_text: bool = False

    def convert(self, value: Any, scope: Scope) -> Any:
        """Give the value as the component wants it, or report to `scope` and give INVALID."""
        return value

    def schema(self) -> dict[str, Any]:
        """Give the JSON Schema of the values that `convert` takes."""
        return {}

    def example(self) -> str:
        """Give a right value as it is written in YAML, or nothing: what `wanted` says after "such as"."""
        return re.split(r", or (?!.*\])", self.wanted.partition(" such as ")[2])[0]

    def write(self, value: Any) -> str:
        """Write a converted value the way it is written in YAML."""
        if value is None:
            return "none"
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, tuple):
            return f"[{', '.join(map(self.write, value))}]"
        return str(getattr(value, "name", value))

    def _wanted(self, value: Any, scope: Scope) -> Any:
        number = isinstance(value, int | float) and not isinstance(value, bool) and " from " in self.wanted
        return scope.wrong(f"{self.wanted} is wanted here, not {value if number else plainly(value)}")


#: A scalar with a variable in it is only known when it runs, so the schema lets it stand where a number is wanted.
_VARIABLE_SCHEMA: Final = {"type": "string", "pattern": r"\$\{"}


class Unit(Kind):
    """A scalar with a unit, read by a function that raises ValueError with a plain message."""

    def __init__(
        self,
        wanted: str,
        read: Callable[[object], Any],
        schema: Mapping[str, Any],
        write: Callable[[Any], str] = str,
    ) -> None:
        self.wanted = wanted
        self._read = read
        self._schema = dict(schema)
        self._write = write

    def write(self, value: Any) -> str:
        return super().write(value) if value is None else self._write(value)

    def convert(self, value: Any, scope: Scope) -> Any:
        if isinstance(value, list | tuple | Mapping | TextWithList) or value is None:
            return self._wanted(value, scope)
        try:
            return self._read(value)
        except ValueError as error:
            return scope.wrong(str(error))

    def schema(self) -> dict[str, Any]:
        return dict(self._schema)


class _Text(Kind):
    wanted = "a text"

    def convert(self, value: Any, scope: Scope) -> Any:
        if isinstance(value, str):
            return value
        if isinstance(value, os.PathLike):
            return os.fspath(value)
        if isinstance(value, bool | int | float):
            return scope.expanded() or str(value)  # `[sleep, 0.50]` means the text that was written, not the number
        return self._wanted(value, scope)

    def schema(self) -> dict[str, Any]:
        return {"type": ["string", "number", "boolean"]}


#: What YAML 1.1 took for booleans.
_OLD_BOOLEANS: Final = {"yes": "true", "on": "true", "y": "true", "no": "false", "off": "false", "n": "false"}


class _Boolean(Kind):
    wanted = "true or false"

    def example(self) -> str:
        return "true"

    def convert(self, value: Any, scope: Scope) -> Any:
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value.lower() in _OLD_BOOLEANS:
            meant = _OLD_BOOLEANS[value.lower()]
            return scope.wrong(f"{self.wanted} is wanted here, not a text; write {meant} for {value!r}")
        return self._wanted(value, scope)

    def schema(self) -> dict[str, Any]:
        return {"anyOf": [{"type": "boolean"}, _VARIABLE_SCHEMA]}


class _FilePath(_Text):
    wanted = "a path"

    def convert(self, value: Any, scope: Scope) -> Any:
        path = super().convert(value, scope)
        if path is INVALID:
            return path
        if not path:
            return scope.wrong("a path cannot be empty")
        if "\0" in path:
            return scope.wrong("a path cannot hold a NUL character")
        path = os.path.expanduser(path)
        return os.path.normpath(os.path.join(scope.directory, path)) if scope.directory is not None else path


class _DurationRange(Kind):
    wanted = "a range of durations such as 100ms..10s"

    def convert(self, value: Any, scope: Scope) -> Any:
        if isinstance(value, list | tuple) and len(value) == 2:
            low, high = value
        elif isinstance(value, str):
            low, dots, high = value.partition("..")
            high = high if dots else low
        elif isinstance(value, int | float) and not isinstance(value, bool):
            low = high = value
        else:
            return self._wanted(value, scope)
        try:
            bounds = (parse_duration(low), parse_duration(high))
        except ValueError as error:
            return scope.wrong(f"{self.wanted} is wanted here: {error}")
        if not 0 < bounds[0] <= bounds[1]:
            return scope.wrong(f"{value!r} is no range; the lower duration comes first and is more than nothing")
        return bounds

    def schema(self) -> dict[str, Any]:
        pair = {"type": "array", "items": DURATION.schema(), "minItems": 2, "maxItems": 2}
        return {"anyOf": [*_written("number", rf"{_A_DURATION}(\.\.\s*{_A_DURATION})?")["anyOf"], pair]}

    def write(self, value: Any) -> str:
        return "..".join(map(format_duration, value)) if value is not None else super().write(value)


TEXT: Final = _Text()
BOOLEAN: Final = _Boolean()
PATH: Final = _FilePath()


def _written(type_: str, pattern: str) -> dict[str, Any]:
    """Give the JSON Schema of a number that is not negative, or a text of this form."""
    text = {"type": "string", "pattern": rf"^\s*{pattern}\s*$|\$\{{"}
    return {"anyOf": [{"type": type_, "minimum": 0}, text]}


_PART: Final = r"\d[\d_]*(\.\d+)?\s*"
_A_DURATION: Final = rf"({_PART}(ns|us|µs|ms|s|m|h|d)\s*)+"
_A_COUNT: Final = r"\d+(_\d+)*"
DURATION: Final = Unit("a duration such as 5s", parse_duration, _written("number", _A_DURATION), format_duration)
DURATION_RANGE: Final = _DurationRange()
_A_SIZE: Final = rf"({_PART}([kKMGT]?B|[KMGT]iB)|{_A_COUNT})"
SIZE: Final = Unit("a size such as 64KiB", parse_size, _written("integer", _A_SIZE), format_size)
COUNT: Final = Unit("a count such as 10_000", parse_count, _written("integer", _A_COUNT), "{:_}".format)


class _Rate(Kind):
    wanted = "a number from 0 to 1"

    def example(self) -> str:
        return "0.1"

    def convert(self, value: Any, scope: Scope) -> Any:
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1:
            return float(value)
        return self._wanted(value, scope)

    def schema(self) -> dict[str, Any]:
        return {"anyOf": [{"type": "number", "minimum": 0, "maximum": 1}, _VARIABLE_SCHEMA]}


RATE: Final = _Rate()


class Choice(Kind):
    """One of a few names."""

    def __init__(self, *names: str) -> None:
        self.names = names
        self.wanted = "one of " + ", ".join(names)

    def example(self) -> str:
        return self.names[0]

    def convert(self, value: Any, scope: Scope) -> Any:
        if isinstance(value, str) and value in self.names:
            return value
        if isinstance(value, str):
            near, key = nearest(value, self.names), scope.path[-1] if scope.path else ""
            # Where the example is this choice alone, it is the choice that was meant.
            example = f"{key}: {near}" if near and scope.example.partition(": ")[2] in self.names else ""
            return scope.wrong(f"unknown choice {value!r}{did_you_mean(value, self.names)}", example=example)
        return self._wanted(value, scope)

    def schema(self) -> dict[str, Any]:
        return {"anyOf": [{"enum": list(self.names)}, _VARIABLE_SCHEMA]}


class ListOf(Kind):
    """A list; with `single`, one value stands for a list of one."""

    def __init__(self, kind: Kind, *, single: bool = False, least: int = 0) -> None:
        self.kind = kind
        self.single = single
        self.least = least

    @property
    def wanted(self) -> str:  # type: ignore[override]
        return f"a list (each {self.kind.wanted})"

    def example(self) -> str:
        item = self.kind.example()
        return f"[{item}]" if item and "\n" not in item else ""

    def convert(self, value: Any, scope: Scope) -> Any:
        if not isinstance(value, list | tuple):
            if not self.single or isinstance(value, Mapping) or value is None:
                return self._wanted(value, scope)
            item = self.kind.convert(value, scope)
            return INVALID if item is INVALID else (item,)
        if len(value) < self.least:
            return scope.wrong("the list is empty" if not value else f"at least {self.least} are wanted here")
        items = tuple(self.kind.convert(item, scope.child(index)) for index, item in enumerate(value))
        return INVALID if any(item is INVALID for item in items) else items

    def schema(self) -> dict[str, Any]:
        array: dict[str, Any] = {"type": "array", "items": self.kind.schema(), "minItems": self.least}
        return {"anyOf": [array, self.kind.schema()]} if self.single else array


class MappingOf(Kind):
    """A mapping from names to values of one kind."""

    def __init__(self, kind: Kind, *, least: int = 0) -> None:
        self.kind = kind
        self.least = least
        self.wanted = f"a mapping (each value {kind.wanted})"

    def example(self) -> str:
        return ""

    def convert(self, value: Any, scope: Scope) -> Any:
        if not isinstance(value, Mapping):
            return self._wanted(value, scope)
        if len(value) < self.least:
            return scope.wrong("the mapping is empty")
        pairs = {str(key): self.kind.convert(item, scope.child(str(key))) for key, item in value.items()}
        return INVALID if any(item is INVALID for item in pairs.values()) else pairs

    def schema(self) -> dict[str, Any]:
        return {"type": "object", "additionalProperties": self.kind.schema(), "minProperties": self.least}


class Either(Kind):
    """The first of some kinds whose shape fits: pairs of a test on the plain value, and the kind."""

    def __init__(self, wanted: str, *choices: tuple[Callable[[Any], bool], Kind]) -> None:
        self.wanted = wanted
        self.choices = choices

    def convert(self, value: Any, scope: Scope) -> Any:
        for fits, kind in self.choices:
            if fits(value):
                return kind.convert(value, scope)
        return self._wanted(value, scope)

    def schema(self) -> dict[str, Any]:
        return {"anyOf": [kind.schema() for _, kind in self.choices]}


class Nested(Kind):
    """The options of another Spec."""

    def __init__(self, spec: type[Spec]) -> None:
        self.spec = spec
        self.wanted = f"the options of {spec.__name__.lower().removesuffix('spec')}"

    def example(self) -> str:
        key, _, value = self.spec.example.partition(": ")
        return value if key == getattr(self.spec, "name", "") else ""

    def convert(self, value: Any, scope: Scope) -> Any:
        return value if isinstance(value, self.spec) else self.spec.from_value(value, scope)

    def schema(self) -> dict[str, Any]:
        return self.spec.schema()


class Deferred(Kind):
    """A kind that is imported when it is first asked for something: most files have none of what it is for."""

    def __init__(self, module: str, name: str) -> None:
        self._module = module
        self._name = name

    @property
    def kind(self) -> Kind:
        """The kind itself."""
        kind: Kind = later(self._module, self._name)
        return kind

    @property
    def wanted(self) -> str:  # type: ignore[override]
        return self.kind.wanted

    def example(self) -> str:
        return self.kind.example()

    def convert(self, value: Any, scope: Scope) -> Any:
        return self.kind.convert(value, scope)

    def schema(self) -> dict[str, Any]:
        return self.kind.schema()

    def write(self, value: Any) -> str:
        return self.kind.write(value)


def option(kind: Kind, doc: str, default: Any = REQUIRED, *, example: str = "", key: str = "") -> Any:
    """Declare one option of a Spec: its kind, one sentence about it, and its default.

    `key` is its name in YAML where the field cannot bear it (``from``).
    """
    return dataclasses.field(default=default, metadata={"kind": kind, "doc": doc, "example": example, "key": key})


def example_of(name: str, field: dataclasses.Field[Any]) -> str:
    """Give an option as it is written in YAML with a right value; nothing where none is known."""
    kind, default = field.metadata["kind"], field.default
    value = field.metadata["example"]
    if not value and default and isinstance(default, bool | int | float | str):
        value = kind.write(default)
        if isinstance(default, str) and not re.fullmatch(r"[A-Za-z][\w.-]*", value):
            import json

            value = json.dumps(value, ensure_ascii=False)
    value = value or kind.example()
    return f"{name}: {value}" if value else ""


def schema_of(field: dataclasses.Field[Any]) -> dict[str, Any]:
    """Give the JSON Schema of an option; null means that it is not given, where that is its default."""
    schema = field.metadata["kind"].schema()
    if field.default is None:
        schema = {"anyOf": [schema, {"type": "null"}]}
    return {**schema, "description": field.metadata["doc"]}


C = TypeVar("C", bound="Spec")


@overload
def described(cls: type[C], /) -> type[C]: ...
@overload
def described(*, kw_only: bool = False) -> Callable[[type[C]], type[C]]: ...
@dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field,))
def described(cls: Any = None, /, *, kw_only: bool = False) -> Any:
    """Make a frozen dataclass of a class below `Spec`.

    ``@dataclass(frozen=True)`` does the same. What that writes and compiles for each class is here once for all, in
    `Spec`, and there are more than ninety of them: that was a fifth of the time that it takes to start.
    """

    def make(cls: type[Spec]) -> type[Spec]:
        # It is frozen by `Spec`, and is told to be, so that a frozen dataclass may stand below it and above it.
        row = [base for base in cls.__mro__[1:] if "__dataclass_params__" in base.__dict__]
        for base in row:
            base.__dataclass_params__.frozen = False  # type: ignore[attr-defined]
        try:
            dataclasses.dataclass(init=False, repr=False, eq=False, kw_only=kw_only)(cls)
        finally:
            for base in (cls, *row):
                if "__dataclass_params__" in base.__dict__:
                    base.__dataclass_params__.frozen = True  # type: ignore[attr-defined]
        for name in ("__init__", "__repr__", "__eq__", "__hash__"):
            if name not in cls.__dict__:  # in the place of what was written for a class above, if there is one
                setattr(cls, name, getattr(Frozen if name in Frozen.__dict__ else Spec, name))
        return cls

    return make if cls is None else make(cls)


@described
class Spec(Frozen):
    """The base of everything that can be described in YAML or Python.

    Subclasses are `described`: frozen dataclasses, with fields that are made by `option`. Constructing one checks every
    value and raises ConfigError with all mistakes; `from_value` reads a plain value and reports to a Scope instead.
    """

    #: The option that a bare value stands for: with ``shorthand = "where"``, ``filter: x > 1`` is ``{where: x > 1}``.
    shorthand: ClassVar[str | None] = None
    #: True where the shorthand takes every mapping, too (``set: {a: b}``); then there is no long form.
    shorthand_only: ClassVar[bool] = False
    #: A whole example, in YAML.
    example: ClassVar[str] = ""

    def __init__(self, *values: Any, **named: Any) -> None:
        fields = dataclasses.fields(self)
        given = named
        if values:
            names = [field.name for field in fields if not field.kw_only]
            if len(values) > len(names):
                raise TypeError(f"{type(self).__name__} takes {len(names)} positional arguments, not {len(values)}")
            given = dict(zip(names, values, strict=False))
            if twice := given.keys() & named.keys():
                raise TypeError(f"{type(self).__name__} got several values for {', '.join(sorted(twice))}")
            given |= named
        set_ = object.__setattr__
        used = 0
        for field in fields:
            name = field.name
            if name in given:
                set_(self, name, given[name])
                used += 1
            elif field.default is REQUIRED:
                raise TypeError(f"{type(self).__name__} needs a value for {name!r}")
        if used < len(given):
            known = {field.name for field in fields}
            unknown = ", ".join(repr(name) for name in given if name not in known)
            raise TypeError(f"{type(self).__name__} got an unexpected argument {unknown}")
        self.__post_init__()

    def __post_init__(self) -> None:
        scope = Scope(prefix=getattr(type(self), "name", "") or type(self).__name__.lower())
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value is field.default or "kind" not in field.metadata:
                continue  # a default is right by definition, and None as a default means: not given
            converted = field.metadata["kind"].convert(value, scope.child(field.name))
            object.__setattr__(self, field.name, converted)
        if not scope.mistakes:
            self.check(scope)
        if scope.mistakes:
            raise ConfigError(scope.mistakes)

    def check(self, scope: Scope) -> None:
        """Report what is wrong between options that are right by themselves. Nothing, unless overridden."""

    @classmethod
    def options(cls) -> dict[str, dataclasses.Field[Any]]:
        """Give the declared options by name."""
        fields = [field for field in dataclasses.fields(cls) if "kind" in field.metadata]
        return {field.metadata["key"] or field.name: field for field in fields}

    @classmethod
    def from_value(cls, value: Any, scope: Scope) -> Self | Any:
        """Make one from a plain value, or report every mistake in it to `scope` and give INVALID."""
        options = cls.options()
        short = cls.shorthand
        scope = scope.like(cls.example)
        if short is not None and (cls.shorthand_only or not isinstance(value, Mapping)):
            if value is None and options[short].default is not REQUIRED:
                return cls._build({}, scope)
            # The value itself stands for the option, so a mistake in it is where the value is.
            converted = options[short].metadata["kind"].convert(value, scope)
            return INVALID if converted is INVALID else cls._build({options[short].name: converted}, scope)
        if value is None:
            value = {}
        if not isinstance(value, Mapping):
            return scope.wrong(f"a mapping is wanted here (options: {', '.join(options)}), not {plainly(value)}")
        given: dict[str, Any] = {}
        wrong = False
        for key, item in value.items():
            if key not in options:
                cls.unknown_key(key, scope)
                wrong = True
                continue
            if item is None and options[key].default is None:
                continue
            at = scope.child(key, example_of(key, options[key]))
            given[key] = options[key].metadata["kind"].convert(item, at)
            wrong = wrong or given[key] is INVALID
        for name, field in options.items():
            if field.default is REQUIRED and name not in value:
                example = f", for example {field.metadata['example']}" if field.metadata["example"] else ""
                message = f"{name!r} is missing: {field.metadata['doc'].rstrip('.')}{example}{cls.hint(name)}"
                scope.wrong(message, on_key=True, example=example_of(name, field))
                wrong = True
        return INVALID if wrong else cls._build({options[key].name: item for key, item in given.items()}, scope)

    @classmethod
    def unknown_key(cls, key: str, scope: Scope) -> None:
        """Report a key of a mapping that is no option."""
        options = cls.options()
        near = nearest(key, options)
        at = scope.child(key, example_of(near, options[near]) if near is not None else "")
        at.wrong(f"unknown key {key!r}{did_you_mean(key, options)}", on_key=True)

    @classmethod
    def hint(cls, name: str) -> str:
        """Give what is said behind the mistake that this option is missing. Nothing, unless overridden."""
        return ""

    @classmethod
    def _build(cls, given: dict[str, Any], scope: Scope) -> Self | Any:
        try:
            return cls(**given)
        except ConfigError as error:
            for mistake in error.mistakes:
                at = scope
                for key in re.findall(r"\w+", mistake.where.partition(".")[2]):
                    at = at.child(int(key) if key.isdigit() else key)
                at.wrong(mistake.message, example=mistake.example)
            return INVALID

    @classmethod
    def schema(cls) -> dict[str, Any]:
        """Give the JSON Schema of what `from_value` takes."""
        options = cls.options()
        short = cls.shorthand
        if short is not None and cls.shorthand_only:
            return {**options[short].metadata["kind"].schema(), "description": options[short].metadata["doc"]}
        properties = {}
        for name, field in options.items():
            properties[name] = schema_of(field)
            if field.default is not REQUIRED and isinstance(field.default, bool | int | float | str):
                properties[name]["default"] = field.default
        long: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": False}
        if required := [name for name, field in options.items() if field.default is REQUIRED]:
            long["required"] = required
        forms = [long]
        if short is not None:
            forms.append(options[short].metadata["kind"].schema())
        if all(field.default is not REQUIRED for field in options.values()):
            forms.append({"type": "null"})
        return long if len(forms) == 1 else {"anyOf": forms}
