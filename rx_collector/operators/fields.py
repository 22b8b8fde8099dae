"""set, rename, drop and keep: edit the top-level fields of a payload."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from rx_collector.config.options import TEXT, ListOf, MappingOf, described, option
from rx_collector.event import Event, Origin
from rx_collector.expressions import Expression
from rx_collector.expressions.option import LITERAL_EXPRESSION, Evaluation, fields_read, may_be_payload
from rx_collector.stream.code import with_fields
from rx_collector.stream.edits import Edit, kept, token
from rx_collector.stream.operator import Stage, operator

if TYPE_CHECKING:
    from rx_collector.stream.code import SegmentCode

_NOTHING = Event({}, None, Origin("", "", 0, None, 0), 0)  # for expressions that read nothing of an event

__all__ = ["Drop", "Keep", "Rename", "Set", "emit_conversion"]


@described
class _Editing(Stage):
    """Changes top-level fields and does nothing else: on the bytes of a line where its loop does that, else in a dict."""

    independent = True

    def pending(self, code: SegmentCode) -> Sequence[Edit]:
        """Give the changes for the end of a loop that splices; what they need of the event is read now."""
        return self.edits() or ()

    @abstractmethod
    def emit_edits(self, code: SegmentCode) -> None:
        """Write the changes of a dict."""

    def leaves(self, fields: frozenset[str]) -> bool:
        return all(
            fields.issubset(edit.fields) if edit.kind == "keep" else fields.isdisjoint(edit.names)
            for edit in self.edits() or ()
        )

    def key_reader(self) -> tuple[Stage, frozenset[str]] | None:
        read = self.edits_read()
        renamed = [edit.name for edit in self.edits() or () if edit.kind == "rename"]
        return None if read is None else (self, read.union(renamed))

    def emit(self, code: SegmentCode, following: Sequence[Stage]) -> None:
        if code.splices:
            code.pend(self.pending(code))
        else:
            self.prepare(code, following)
            self.emit_edits(code)

    def prepare(self, code: SegmentCode, following: Sequence[Stage]) -> None:
        """Write what goes before the changes of a dict."""


@operator("set", summary="Set fields to values.", example="set: {dir: 'filename.rpartition(\"/\")[0]', seen: true}")
@described
class Set(_Editing):
    """Set fields to the values of expressions. All of them see the payload as it was before.

    A name is one top-level field, dots and all.
    """

    shorthand: ClassVar[str | None] = "fields"
    shorthand_only: ClassVar[bool] = True

    fields: Mapping[str, Evaluation] = option(MappingOf(LITERAL_EXPRESSION, least=1), "The fields and their values.")

    def edits(self) -> Sequence[Edit] | None:
        return [
            Edit("set", name, variable="" if isinstance(value, Expression) and value.constant else "value")
            for name, value in self.fields.items()
        ]

    def edits_read(self) -> frozenset[str] | None:
        return fields_read(*self.fields.values())

    def pending(self, code: SegmentCode) -> Sequence[Edit]:
        return [_set_to(name, evaluation, code) for name, evaluation in self.fields.items()]

    def prepare(self, code: SegmentCode, following: Sequence[Stage]) -> None:
        """Hold the fields that a later set or filter reads, too."""
        read = set(self.edits_read() or ()) - self.fields.keys()
        for stage in following:
            needed = stage.edits_read() if isinstance(stage, Set) else stage.needs() if not stage.edits() else None
            if needed is None:
                break
            for name in sorted(read & needed):
                code.hold(name)
            read -= stage.fields.keys() if isinstance(stage, Set) else set()

    def emit_edits(self, code: SegmentCode) -> None:
        values = []
        whole = any(may_be_payload(evaluation) for evaluation in self.fields.values())
        for evaluation in self.fields.values():
            source = code.value(evaluation)
            if len(self.fields) > 1 or whole:  # all are read before the first is written
                source, rendered = code.temporary(), source
                code.write(f"{source} = {rendered}")
            values.append(source)
        if len(self.fields) == 1 and not whole and code.payload != "local":
            source = code.temporary()
            code.write(f"{source} = {values[0]}")
            values = [source]
        held = code.held
        code.owned &= not whole  # else the payload would be put into itself
        code.own()
        code.held = {name: variable for name, variable in held.items() if name not in self.fields}
        for name, source in zip(self.fields, values, strict=True):
            code.write(f"data[{name!r}] = {source}")


def _set_to(name: str, evaluation: Evaluation, code: SegmentCode) -> Edit:
    """Give the edit that sets a field, and write what finds its value now, where it may fail."""
    if isinstance(evaluation, Expression) and evaluation.constant:
        try:
            value = evaluation(_NOTHING)
        except Exception:
            value = code  # it fails for every event, and is written so that it does
        if token(value) is not None:
            return Edit("set", name, value=value)
    variable = code.temporary()
    code.write(f"{variable} = {code.value(evaluation)}")
    return Edit("set", name, variable=variable)


@operator("rename", summary="Rename fields.", example="rename: {filename: path}")
@described
class Rename(_Editing):
    """Rename fields. One that is missing is passed over; one that already bears the new name is replaced."""

    shorthand: ClassVar[str | None] = "fields"
    shorthand_only: ClassVar[bool] = True

    fields: Mapping[str, str] = option(MappingOf(TEXT, least=1), "Old names and their new ones.")

    def edits(self) -> Sequence[Edit] | None:
        return [Edit("rename", old, new) for old, new in self.fields.items()]

    def emit_edits(self, code: SegmentCode) -> None:
        code.own()
        if len(self.fields) == 1:
            ((old, new),) = self.fields.items()
            code.write(f"if {old!r} in data: data[{new!r}] = data.pop({old!r})")
        else:  # all at once, so that two names can be swapped
            names = code.bind(dict(self.fields), "names")
            taken = code.temporary()
            code.write(f"{taken} = {{new: data.pop(old) for old, new in {names}.items() if old in data}}")
            code.write(f"data.update({taken})")


@operator("drop", summary="Remove fields.", example="drop: [ppid, flags]")
@described
class Drop(_Editing):
    """Remove fields; one that is missing is passed over."""

    shorthand: ClassVar[str | None] = "fields"

    fields: Sequence[str] = option(ListOf(TEXT, single=True, least=1), "The fields to remove.", example="[ppid]")

    def edits(self) -> Sequence[Edit] | None:
        return [Edit("drop", name) for name in dict.fromkeys(self.fields)]

    def emit_edits(self, code: SegmentCode) -> None:
        code.own()
        for name in self.fields:
            code.write(f"data.pop({name!r}, None)")


@operator("keep", summary="Keep some fields and remove all others.", example="keep: [pid, comm, filename]")
@described
class Keep(_Editing):
    """Keep some fields, in this order, and remove all others; one that is missing stays missing."""

    shorthand: ClassVar[str | None] = "fields"

    fields: Sequence[str] = option(ListOf(TEXT, single=True, least=1), "The fields to keep.", example="[pid, comm]")

    def edits(self) -> Sequence[Edit] | None:
        return [Edit("keep", fields=tuple(dict.fromkeys(self.fields)))]

    def emit_edits(self, code: SegmentCode) -> None:
        code.data()
        names = code.bind(tuple(self.fields), "names")
        code.assign(f"{code.bind(_kept, 'kept')}(data, {names})", is_dict=True, owned=True)


def emit_conversion(
    code: SegmentCode, conversions: Mapping[str, Callable[[Any], Any]], problems: Mapping[str, str]
) -> None:
    """Write a stage that puts what a function makes of it in the place of each field; one that is missing or null stays.

    A value that a function refuses rejects the event, unchanged; `problems` has the words before its own, by field.
    """

    def converted(data: Any) -> dict[str, Any]:
        with_fields(data)
        made: dict[str, Any] = {}
        for name, convert in conversions.items():
            value = data.get(name)
            if value is not None:
                try:
                    made[name] = convert(value)
                except (ValueError, TypeError, OverflowError) as error:
                    raise ValueError(f"{problems[name]}: {str(error)[:120]}") from None
        return {**data, **made}

    code.assign(f"{code.bind(converted, 'converted')}({code.data()})", is_dict=True, owned=True)


def _kept(data: Any, names: tuple[str, ...]) -> dict[str, Any]:
    return kept(with_fields(data), names)
