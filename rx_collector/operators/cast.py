"""cast: turn fields into values of another type."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from rx_collector.config.options import Choice, MappingOf, described, option
from rx_collector.event import encode_json
from rx_collector.operators.fields import emit_conversion
from rx_collector.stream.operator import Stage, operator

if TYPE_CHECKING:
    from rx_collector.stream.code import SegmentCode

__all__ = ["Cast"]


def _int(value: Any) -> int:
    """A whole number; a text may have a base (0x1f), a number no part behind the point."""
    if isinstance(value, str):
        text = value.strip().lower().lstrip("+-")
        return int(value, 0) if text[:2] in ("0x", "0o", "0b") else int(value)
    if isinstance(value, float) and not value.is_integer():
        raise ValueError(f"{value!r} is not a whole number")
    return int(value)


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if value in (0, 1):
        return bool(value)
    if isinstance(value, str):
        text = value.strip().lower()
        if text in ("true", "yes", "on", "1"):
            return True
        if text in ("false", "no", "off", "0"):
            return False
    raise ValueError(f"{value!r} is not a boolean")


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return encode_json(value).decode()


_CASTS: dict[str, Callable[[Any], Any]] = {"int": _int, "float": float, "boolean": _boolean, "text": _text}


@operator("cast", summary="Turn fields into values of another type.", example="cast: {pid: int, ratio: float}")
@described
class Cast(Stage):
    """Turn fields into ``int``, ``float``, ``boolean`` or ``text``. One that is missing or null stays as it is.

    A value that is none of its type rejects the event, unchanged.

    >>> import rx_collector as rx
    >>> from rx_collector import operators as op
    >>> rx.runner("echo", "0x1f").pipe(op.cast({"message": "int"})).run().data
    {'message': 31}
    """

    independent = True

    shorthand: ClassVar[str | None] = "types"
    shorthand_only: ClassVar[bool] = True

    types: Mapping[str, str] = option(MappingOf(Choice(*_CASTS), least=1), "The fields and their types.")

    def leaves(self, fields: frozenset[str]) -> bool:
        return fields.isdisjoint(self.types)

    def key_reader(self) -> tuple[Stage, frozenset[str]]:
        return self, frozenset(self.types)

    def emit(self, code: SegmentCode, following: Sequence[Stage]) -> None:
        casts = {name: _CASTS[kind] for name, kind in self.types.items()}
        emit_conversion(
            code, casts, {name: f"field {name!r} cannot become {kind}" for name, kind in self.types.items()}
        )
