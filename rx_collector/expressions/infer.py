"""What is known of the kinds of an expression's values, and with it what cannot succeed for any event.

Only what is evaluated for every event is refused: ``x and "a" + 1`` succeeds where x is 0, and is left to the event.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from typing import Final

from rx_collector.expressions.errors import ExpressionError
from rx_collector.expressions.functions import FUNCTIONS, GUARDED_METHODS, METHODS
from rx_collector.expressions.kinds import (
    ANY,
    NUMBER,
    OPERATORS,
    POSITION,
    WHOLE,
    Kinds,
    can_be_in,
    can_be_key,
    can_be_ordered,
    in_words,
    kind_of,
    pairs,
)
from rx_collector.expressions.render import can_be_none

__all__ = ["METAS", "infer"]

#: What `meta` has, and of what kind it is.
METAS: Final[Mapping[str, Kinds]] = {
    "id": Kinds.TEXT,
    "source": Kinds.TEXT,
    "type": Kinds.TEXT,
    "time": Kinds.TIME,
    "time_ns": Kinds.INTEGER,
    "observed_time": Kinds.TIME,
    "runner": Kinds.TEXT,
    "incarnation": Kinds.INTEGER,
    "line": Kinds.INTEGER,
    "pid": Kinds.INTEGER | Kinds.NULL,
    "run": Kinds.TEXT,
}
_ORDER: Final = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">="}
_SEQUENCES: Final = Kinds.TEXT | Kinds.LIST | Kinds.TUPLE
#: What stands for an expression that fails where it need not be evaluated.
_NEVER: Final = Kinds(0)

ErrorAt = Callable[..., ExpressionError]


def infer(tree: ast.expr, error_at: ErrorAt, failures: Mapping[ast.Call, str]) -> Kinds:
    """Give the kinds that a checked tree's value may be of.

    `failures` says what is wrong with calls with constant arguments that fail. Raises ExpressionError, made by
    `error_at` of a node and a message, where evaluation fails for every event.
    """
    return _Inference(error_at, failures).of(tree)


class _Inference:
    def __init__(self, error_at: ErrorAt, failures: Mapping[ast.Call, str]) -> None:
        self._error_at = error_at
        self._failures = failures

    def of(self, node: ast.expr) -> Kinds:
        """Give the kinds of what is evaluated for every event."""
        if isinstance(node, ast.Constant):
            return kind_of(node.value)
        method = getattr(self, f"_{type(node).__name__.lower()}", None)
        return ANY if method is None else Kinds(method(node))

    def _perhaps(self, node: ast.expr) -> Kinds:
        """Give the kinds of what is evaluated for some events only."""
        try:
            return self.of(node)
        except ExpressionError:
            return _NEVER

    def _attribute(self, node: ast.Attribute) -> Kinds:
        if isinstance(node.value, ast.Name) and node.value.id == "meta":
            return METAS[node.attr]
        whole = self.of(node.value)
        if not whole & (Kinds.OBJECT | Kinds.NULL | Kinds.OTHER):
            raise self._error_at(node.value, f"{in_words(whole)} has no fields, so no {node.attr!r}")
        return Kinds.NULL if whole is Kinds.NULL else ANY

    def _subscript(self, node: ast.Subscript) -> Kinds:
        whole, key = self.of(node.value), node.slice
        if isinstance(key, ast.Slice):
            return self._slice(node, whole, key)
        at = self.of(key)
        if not whole & (_SEQUENCES | Kinds.OBJECT | Kinds.NULL | Kinds.OTHER):
            raise self._error_at(node.value, f"{in_words(whole)} has no items")
        if Kinds.NULL in whole or Kinds.OTHER in whole:
            return Kinds.NULL if whole is Kinds.NULL else ANY
        by_key, by_number = Kinds.OBJECT in whole, bool(whole & _SEQUENCES)
        if not ((by_key and can_be_key(at)) or (by_number and at & (WHOLE | Kinds.OTHER))):
            wanted = "a key" if by_key else "a whole number"
            raise self._error_at(key, f"an item of {in_words(whole)} is named by {wanted}, not by {in_words(at)}")
        return Kinds.TEXT | Kinds.NULL if whole is Kinds.TEXT else ANY

    def _slice(self, node: ast.Subscript, whole: Kinds, key: ast.Slice) -> Kinds:
        ends = [(part, self.of(part)) for part in (key.lower, key.upper, key.step) if part is not None]
        if not whole & (_SEQUENCES | Kinds.NULL | Kinds.OTHER):
            raise self._error_at(node.value, f"{in_words(whole)} has no parts to take out")
        if Kinds.NULL in whole or Kinds.OTHER in whole:
            return Kinds.NULL if whole is Kinds.NULL else ANY
        for part, kinds in ends:
            if not kinds & (POSITION | Kinds.OTHER):
                raise self._error_at(part, f"a part is named by whole numbers, not by {in_words(kinds)}")
        return whole & _SEQUENCES

    def _binop(self, node: ast.BinOp) -> Kinds:
        left, right = self.of(node.left), self.of(node.right)
        if Kinds.OTHER in left | right:
            return ANY
        symbol, rule, takes = OPERATORS[type(node.op)]
        given = _NEVER
        for one, other in pairs(left, right):
            given |= rule(one, other)
        if not given:
            raise self._error_at(node.right, f"{symbol!r} takes {takes}, not {in_words(left)} and {in_words(right)}")
        return ANY if Kinds.OTHER in given else given

    def _unaryop(self, node: ast.UnaryOp) -> Kinds:
        kinds = self.of(node.operand)
        if isinstance(node.op, ast.Not):
            return Kinds.BOOLEAN
        if Kinds.OTHER in kinds:
            return ANY
        takes = WHOLE if isinstance(node.op, ast.Invert) else NUMBER
        if not kinds & takes:
            symbol = {ast.Invert: "~", ast.USub: "-", ast.UAdd: "+"}[type(node.op)]
            wanted = in_words(takes, only=True)
            raise self._error_at(node.operand, f"{symbol!r} before a value takes {wanted}, not {in_words(kinds)}")
        return kinds & takes & ~Kinds.BOOLEAN | (Kinds.INTEGER if Kinds.BOOLEAN in kinds else _NEVER)

    def _boolop(self, node: ast.BoolOp) -> Kinds:
        kinds = self.of(node.values[0])
        for value in node.values[1:]:
            kinds |= self._perhaps(value)
        return kinds

    def _ifexp(self, node: ast.IfExp) -> Kinds:
        self.of(node.test)
        kinds = self._perhaps(node.body) | self._perhaps(node.orelse)
        return kinds or self.of(node.body)  # which raises: both fail

    def _compare(self, node: ast.Compare) -> Kinds:
        # Where the second operand is None, the first one is not looked at, unless it can be None as well.
        second = type(node.ops[0]) in _ORDER and can_be_none(node.comparators[0]) and not can_be_none(node.left)
        left = self._perhaps(node.left) or ANY if second else self.of(node.left)
        certain = known = True
        for operator, operand in zip(node.ops, node.comparators, strict=True):
            order = _ORDER.get(type(operator))
            certain = certain and not (
                order and Kinds.NULL in left
            )  # with None it is false before there is a right side
            right = self.of(operand) if certain else self._perhaps(operand) or ANY
            if certain and order and not can_be_ordered(left, right):
                message = f"{order!r} compares values of one kind, not {in_words(left)} with {in_words(right)}"
                raise self._error_at(operand, message)
            if isinstance(operator, ast.In | ast.NotIn):
                if certain and not can_be_in(left, right):
                    raise self._error_at(operand, _not_in(left, right))
            elif not isinstance(operator, ast.Is | ast.IsNot):
                known = known and Kinds.OTHER not in left | right
            left, certain = right, False
        return Kinds.BOOLEAN if known else ANY

    def _call(self, node: ast.Call) -> Kinds:
        if isinstance(node.func, ast.Name):
            return self._function(node, node.func.id)
        assert isinstance(node.func, ast.Attribute)
        name = node.func.attr
        method = METHODS[name]
        whole = self.of(node.func.value)
        arguments = [self.of(argument) for argument in node.args]
        if not whole & (method.of | Kinds.OTHER):
            of = " and ".join(f"{word}s" for word in _plural(method.of))
            raise self._error_at(node.func, f"{name} is for {of}, not for {in_words(whole)}", in_attribute=True)
        if whole is Kinds.TEXT or (name in GUARDED_METHODS and method.of is Kinds.TEXT):
            self._check_arguments(node, name, arguments, method.takes)
            return method.gives
        return method.gives if name in GUARDED_METHODS else ANY

    def _function(self, node: ast.Call, name: str) -> Kinds:
        function = FUNCTIONS[name]
        arguments = [self.of(argument) for argument in node.args]
        self._check_arguments(node, name, arguments, function.takes)
        if name in ("min", "max") and len(arguments) == 1 and not arguments[0] & (_ITERABLES | Kinds.OTHER):
            raise self._error_at(node.args[0], f"{name} takes several values or a list, not {in_words(arguments[0])}")
        based = name == "int" and len(arguments) == 2 and not arguments[1] & (Kinds.NULL | Kinds.OTHER)
        if based and not arguments[0] & (Kinds.TEXT | Kinds.OTHER):
            raise self._error_at(node.args[0], f"int takes a text when there is a base, not {in_words(arguments[0])}")
        if node in self._failures:
            raise self._error_at(node, self._failures[node])
        if name in ("default", "coalesce"):
            kinds = _NEVER
            for argument in arguments[:-1]:
                kinds |= argument & ~Kinds.NULL
            return kinds | arguments[-1]
        return function.gives

    def _check_arguments(self, node: ast.Call, name: str, arguments: list[Kinds], takes: tuple[Kinds, ...]) -> None:
        for index, kinds in enumerate(arguments if takes else ()):
            wanted = takes[min(index, len(takes) - 1)]
            if not kinds & (wanted | Kinds.OTHER):
                message = f"{name} takes {in_words(wanted, only=True)} here, not {in_words(kinds)}"
                raise self._error_at(node.args[index], message)

    def _list(self, node: ast.List) -> Kinds:
        for element in node.elts:
            self.of(element)
        return Kinds.LIST

    def _tuple(self, node: ast.Tuple) -> Kinds:
        for element in node.elts:
            self.of(element)
        return Kinds.TUPLE

    def _set(self, node: ast.Set) -> Kinds:
        for element in node.elts:
            self._key(element, "be in a set")
        return Kinds.SET

    def _dict(self, node: ast.Dict) -> Kinds:
        for key, value in zip(node.keys, node.values, strict=True):
            if key is not None:
                self._key(key, "be a key")
            self.of(value)
        return Kinds.OBJECT

    def _key(self, node: ast.expr, what: str) -> None:
        kinds = self.of(node)
        if not can_be_key(kinds):
            raise self._error_at(node, f"{in_words(kinds)} cannot {what}")

    def _joinedstr(self, node: ast.JoinedStr) -> Kinds:
        for part in node.values:
            if isinstance(part, ast.FormattedValue):
                self.of(part.value)
        return Kinds.TEXT


_ITERABLES: Final = _SEQUENCES | Kinds.SET | Kinds.OBJECT


def _plural(kinds: Kinds) -> list[str]:
    return [word.partition(" ")[2] for word in in_words(kinds).replace(" or ", ", ").split(", ")]


def _not_in(left: Kinds, right: Kinds) -> str:
    if not right & _ITERABLES:
        return f"'in' looks into a text, list, set or object, not into {in_words(right)}"
    return f"{in_words(left)} cannot be in {in_words(right)}"
